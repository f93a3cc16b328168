"""Federation: edges retrain on what they see, the cloud averages, judges, releases and rolls out."""
