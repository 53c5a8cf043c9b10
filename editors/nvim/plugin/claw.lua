-- Starts `claw lsp` for .claw files: through Neovim's own configuration (0.11 and later), through
-- nvim-lspconfig where that is installed, and else by hand. `let g:claw_lsp = 0` before the start
-- keeps it off.
if vim.g.loaded_claw or vim.g.claw_lsp == 0 or vim.g.claw_lsp == false then
  return
end
vim.g.loaded_claw = true

if vim.lsp.config and vim.lsp.enable then
  vim.lsp.enable("claw")
  return
end

local settings = {
  cmd = { "claw", "lsp" },
  filetypes = { "claw" },
}

local found, configs = pcall(require, "lspconfig.configs")
if found then
  local lspconfig = require("lspconfig")
  if not configs.claw then
    settings.root_dir = lspconfig.util.root_pattern("claw.toml", ".git")
    settings.single_file_support = true
    configs.claw = { default_config = settings }
  end
  lspconfig.claw.setup({})
  return
end

-- Before 0.8 there is no way to start a server by hand: colours only.
if not vim.lsp.start then
  return
end

vim.api.nvim_create_autocmd("FileType", {
  pattern = "claw",
  callback = function(event)
    local name = vim.api.nvim_buf_get_name(event.buf)
    local marker = vim.fs.find({ "claw.toml", ".git" }, { upward = true, path = vim.fs.dirname(name) })[1]
    vim.lsp.start({
      name = "claw",
      cmd = settings.cmd,
      root_dir = marker and vim.fs.dirname(marker) or vim.fs.dirname(name),
    })
  end,
})
