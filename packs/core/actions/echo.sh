# Prints the message and a newline.
source "${BASH_SOURCE[0]%/*}/../lib/parameters.sh"
printf '%s\n' "${parameters[message]}"
