# Waits a number of seconds.
source "${BASH_SOURCE[0]%/*}/../lib/parameters.sh"

seconds=${parameters[seconds]:-1}
if [[ ! $seconds =~ ^([0-9]{1,4})(\.[0-9]+)?$ ]] || ((10#${BASH_REMATCH[1]} > 3600)); then
    printf 'seconds must be a number from 0 to 3600\n' >&2
    exit 1
fi
if [[ -n ${parameters[message]} ]]; then
    printf '%s\n' "${parameters[message]}"
fi
sleep "$seconds"
printf 'Slept for %s seconds\n' "$seconds"
