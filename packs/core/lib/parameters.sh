# Reads the parameters that a shell action gets on standard input in dotenv form into the map `parameters`:
#
#     source "${BASH_SOURCE[0]%/*}/../lib/parameters.sh"
#     printf '%s\n' "${parameters[message]}"
#
# The text is lines of key='value', where a quote in the value is written '\'' and newlines stand as they are. Values
# are data: nothing in them is evaluated. Builtins only, no process is started.

LC_ALL=C # bytes, whatever they are
declare -A parameters=()

read_parameters() {
    local head name part value
    # Everything is cut at the quotes: "key=", then the pieces of its value, then "\n" and the next key.
    IFS= read -r -d "'" head
    while [[ $head == *= ]]; do
        name=${head##*$'\n'}
        value=
        while IFS= read -r -d "'" part; do
            value+=$part
            IFS= read -r -d "'" head
            [[ $head == "\\" ]] || break
            value+="'"
            IFS= read -r -d "'" part # what stands between the last two quotes of '\'': nothing
        done
        parameters[${name%=}]=$value
    done
}

read_parameters
