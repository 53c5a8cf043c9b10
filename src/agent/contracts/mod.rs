//! The contracts, one file each.

mod claw_2026_4;
mod own;
mod sandbox_0_2;

pub(super) use claw_2026_4::ClawTools2026;
pub(super) use own::WithOwn;
pub use own::{BadTool, CommandTool};
pub use sandbox_0_2::{Defect, Prompts, SandboxTools};
