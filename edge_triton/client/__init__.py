"""What a phone imports: the KServe v2 client and its codecs."""
