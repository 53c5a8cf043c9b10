autocmd BufRead,BufNewFile *.claw setfiletype claw
