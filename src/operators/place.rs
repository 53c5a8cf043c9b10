//! Where commands run: what `sandbox("process", memory: …)` says.

use std::sync::Arc;

use crate::engine::CallError;
use crate::lang::Value;
use crate::sandbox::{Backend, Limits};

/// Finds a sandbox backend by its name.
pub type Backends = Arc<dyn Fn(&str) -> Option<Arc<dyn Backend>> + Send + Sync>;

/// A backend and the limits of its sandboxes.
pub(super) struct Place {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) limits: Limits,
    /// Wall time of one command in milliseconds, where it is said.
    pub(super) time_ms: Option<u64>,
}

impl Place {
    /// What of a `Sandbox` value can change what a command computes, when limits cannot: the image
    /// that its programs come from. `None` when that is this machine.
    pub(super) fn image(value: &Value) -> Option<&Value> {
        value.get("image").filter(|image| **image != Value::Null)
    }

    /// Reads a `Sandbox` value: a record of its settings, the backend's name under `sandbox`.
    ///
    /// # Errors
    /// When a setting is none, or this machine has no such backend.
    pub(super) fn of(value: &Value, backends: &Backends) -> Result<Place, CallError> {
        let name = value.get("sandbox").and_then(Value::as_str);
        let name = name.ok_or_else(|| CallError::row("`sandbox` has no field `sandbox`"))?;
        let number = |name: &str| match value.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(given) => match given.as_int() {
                Some(given) if given >= 1 => Ok(Some(given as u64)),
                _ => Err(CallError::row(format!("`sandbox.{name}` must be at least 1"))),
            },
        };
        match value.get("network") {
            None | Some(Value::Null | Value::Bool(false)) => {}
            Some(Value::Str(word)) if word == "off" => {}
            Some(_) => {
                return Err(CallError::row(
                    "a sandbox has no network: write `network: off`, or leave it out",
                ));
            }
        }
        let backend = backends(name).ok_or_else(|| {
            CallError::Infrastructure(format!(
                "there is no sandbox `{name}` on this machine; `claw doctor` says what there is"
            ))
        })?;
        let backend = match value.get("image") {
            None | Some(Value::Null) => backend,
            Some(image) => {
                let image = image.as_str().unwrap_or_default();
                let made = backend.of_image(image).ok_or_else(|| {
                    CallError::row(format!(
                        "a sandbox `{name}` has no image: it shows this machine's own programs\n  \
                         help: leave `image` out, or write sandbox(\"docker\", image: …)"
                    ))
                })?;
                made.map_err(|err| CallError::row(err.to_string()))?
            }
        };
        let default = Limits::default();
        let processes = number("processes")?.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let time_ms = number("time")?;
        let seconds = time_ms.map_or(0, |time| time.div_ceil(1000));
        let limits = Limits {
            memory: number("memory")?.unwrap_or(default.memory),
            processes: processes.unwrap_or(default.processes),
            disk: number("disk")?.unwrap_or(default.disk),
            // Wall time is what is declared; CPU time must not end a command before it.
            cpu_seconds: default.cpu_seconds.max(seconds),
            ..default
        };
        Ok(Place { backend, limits, time_ms })
    }
}
