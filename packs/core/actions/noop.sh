# Does nothing, and ends with the exit code it is asked for.
source "${BASH_SOURCE[0]%/*}/../lib/parameters.sh"

if [[ -n ${parameters[message]} ]]; then
    printf '[NOOP] %s\n' "${parameters[message]}"
fi
exit_code=${parameters[exit_code]:-0}
if [[ ! $exit_code =~ ^[0-9]{1,3}$ ]] || ((10#$exit_code > 255)); then
    printf 'exit_code must be a whole number from 0 to 255\n' >&2
    exit 1
fi
printf 'No operation completed successfully\n'
exit "$((10#$exit_code))"
