" Colours for .claw files. The lists of words are held against the grammar by tests/doc.rs.
if exists("b:current_syntax")
  finish
endif

syn case match

syn keyword clawKeyword accept and as assert def else extern for given if in let not or output param secret stage test then try type use when where with
syn keyword clawConstant false null true
syn keyword clawType Agent Checkpoint Digest Dir File Json Model Sandbox Secret Secrets bool bytes duration float int money percent str
syn match clawType "\<[A-Z][A-Za-z0-9_]*\>"
syn match clawDefinition "\%(\<def\s\+\)\@<=[A-Za-z_][A-Za-z0-9_]*"
syn match clawLabel "\<[A-Za-z_][A-Za-z0-9_]*\ze\s*:"
syn match clawField "\.\@1<=[A-Za-z_][A-Za-z0-9_]*"
syn match clawFunction "\<[a-z_][A-Za-z0-9_]*\ze("
syn match clawOperator "->\|[=!<>]=\|\.\.=\?\|[-+*%<>=?|]"

syn match clawNumber "\<\d[0-9_]*\%(\.\d[0-9_]*\)\?\%([eE][+-]\?\d[0-9_]*\|KiB\|MiB\|GiB\|TiB\|kB\|MB\|GB\|TB\|B\|ms\|s\|m\|h\|d\)\?\>"
syn match clawNumber "\<\d[0-9_]*\%(\.\d[0-9_]*\)\?%"
syn match clawNumber "\$\d[0-9_]*\%(\.\d[0-9_]*\)\?"

syn region clawHole contained matchgroup=clawDelimiter start="{" end="}" contains=TOP
syn region clawBraces contained transparent start="{" end="}" contains=TOP containedin=clawHole
" Behind the holes, so that doubled braces are no hole.
syn match clawEscape contained "\\\%([ntr\\\"]\|u{\x\{1,6}}\)"
syn match clawEscape contained "{{\|}}"
syn region clawString start=+"+ skip=+\\.+ end=+"\|$+ contains=clawHole,clawEscape,@Spell
syn region clawString start=+"""+ end=+"""+ contains=clawHole,clawEscape,@Spell
syn region clawRawString start=+\<r"+ end=+"\|$+
syn region clawRawString start=+\<r"""+ end=+"""+

syn match clawComment "//.*$" contains=clawTodo,@Spell
syn match clawDoc "//!.*$\|///\%(/\)\@!.*$" contains=@Spell
syn keyword clawTodo contained TODO FIXME NOTE

syn sync minlines=200

hi def link clawKeyword Keyword
hi def link clawConstant Constant
hi def link clawType Type
hi def link clawFunction Function
hi def link clawDefinition Function
hi def link clawLabel Identifier
hi def link clawField Identifier
hi def link clawOperator Operator
hi def link clawNumber Number
hi def link clawEscape SpecialChar
hi def link clawDelimiter Delimiter
hi def link clawString String
hi def link clawRawString String
hi def link clawComment Comment
hi def link clawDoc SpecialComment
hi def link clawTodo Todo

let b:current_syntax = "claw"
