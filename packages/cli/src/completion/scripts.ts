/** One script a shell. Each asks `kiln __complete WORD…` with the words so far, the last of which is being typed. */
export const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `# Completion of kiln for bash.
_kiln() {
  local line
  COMPREPLY=()
  compopt +o nospace 2>/dev/null
  while IFS= read -r line; do
    [[ $line == *: ]] && compopt -o nospace 2>/dev/null
    COMPREPLY+=("$line")
  done < <(kiln __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _kiln kiln
`,
  zsh: `#compdef kiln
# Completion of kiln for zsh.
_kiln() {
  local -a found
  found=("\${(@f)$(kiln __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  found=(\${found:#})
  if (( \${#found} )); then compadd -- "\${found[@]}"; else _files; fi
}
if [ "$funcstack[1]" = "_kiln" ]; then _kiln "$@"; else compdef _kiln kiln; fi
`,
  fish: `# Completion of kiln for fish.
function __kiln_complete
  set -l words (commandline -opc) (commandline -ct)
  kiln __complete $words[2..-1] 2>/dev/null
end
complete -c kiln -a '(__kiln_complete)'
`,
};
