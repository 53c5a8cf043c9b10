//! The contracts, one file each.

mod claw_2026_4;

pub(super) use claw_2026_4::ClawTools2026;
