// Starts `claw lsp` and hands it to VS Code's language client. Colours, brackets and comments are
// data (see package.json) and work without it.
"use strict";

const os = require("os");
const path = require("path");
const vscode = require("vscode");

let client;
let output;

/** The program and its arguments, with `~/` and `${workspaceFolder}` filled in. */
function server() {
  const settings = vscode.workspace.getConfiguration("claw");
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
  let command = settings.get("path", "claw");
  if (command.startsWith("~/")) command = path.join(os.homedir(), command.slice(2));
  if (folder) command = command.split("${workspaceFolder}").join(folder);
  return { command, args: settings.get("arguments", ["lsp"]), options: folder ? { cwd: folder } : {} };
}

async function start() {
  let languageClient;
  try {
    languageClient = require("vscode-languageclient/node");
  } catch {
    // A package that was built without npm has colours only.
    output.appendLine("This package was built without the language client: there are colours, and no language server.");
    return;
  }
  const { LanguageClient, TransportKind } = languageClient;
  const run = { ...server(), transport: TransportKind.stdio };
  client = new LanguageClient("claw", "claw", { run, debug: run }, {
    documentSelector: [{ language: "claw", scheme: "file" }, { language: "claw", scheme: "untitled" }],
    outputChannel: output,
    synchronize: { fileEvents: vscode.workspace.createFileSystemWatcher("**/{*.claw,claw.toml,claw.lock}") },
  });
  try {
    await client.start();
  } catch (error) {
    client = undefined;
    const choice = await vscode.window.showErrorMessage(
      `The language server cannot be started: \`${run.command} ${run.args.join(" ")}\`: ${error.message ?? error}. Is claw installed, and does the setting claw.path name it?`,
      "Open settings",
    );
    if (choice) await vscode.commands.executeCommand("workbench.action.openSettings", "claw.path");
  }
}

async function stop() {
  const old = client;
  client = undefined;
  if (old) await old.stop();
}

async function restart() {
  await stop();
  await start();
}

exports.activate = async function (context) {
  output = vscode.window.createOutputChannel("claw");
  context.subscriptions.push(
    output,
    vscode.commands.registerCommand("claw.restart", restart),
    vscode.commands.registerCommand("claw.showOutput", () => output.show()),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration("claw.path") || event.affectsConfiguration("claw.arguments")) return restart();
    }),
  );
  await start();
};

exports.deactivate = stop;
