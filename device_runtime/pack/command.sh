#!/system/bin/sh
# The kit's command line on the phone: `sh mvstylizer stylize CLIP --style PHOTO --out OUT --local`.
exec sh "${0%/*}/python" -m mvstylizer_cli "$@"
