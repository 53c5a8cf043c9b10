//! What can be known of a sandbox before its first process is there.
//!
//! An init is a copy of the helper, and every page that it writes to is copied once more. So whatever
//! does not need the new world is done by the helper, and once for all sandboxes that are ordered in
//! the same words; an init only takes it.

use std::ffi::{CStr, CString};
use std::io;

use rustix::process::{Resource, Rlimit};

use crate::sandbox::Limits;
use crate::sandbox::command::Surroundings;
use crate::sandbox::confine::{self, Filters};
use crate::sandbox::defence::Defence;
use crate::sandbox::helper::INSIDE;
use crate::sandbox::wire::{Order, Setup};

use super::HOME;

/// How a sandbox is to be built.
pub(in crate::sandbox) struct Plan {
    pub(super) order: Order,
    /// The file systems that are its own: where they are mounted, and their options.
    pub(super) places: [(&'static str, &'static CStr, CString); 3],
    /// How many processes it may have.
    pub(super) processes: Option<Rlimit>,
    /// What its commands get.
    pub(super) around: Surroundings,
}

impl Plan {
    /// What its sandbox may use.
    pub(super) fn limits(&self) -> Limits {
        self.order.limits.clone()
    }

    /// For this order.
    pub(in crate::sandbox) fn of(
        order: Order,
        setup: &Setup,
        filters: &Filters,
    ) -> io::Result<Plan> {
        let holds = |defence| !setup.without.contains(&defence);
        let limits = &order.limits;
        let place = |size: u64, mode: &str| {
            // The root of a tmpfs counts as one of its files.
            let count = limits.files.saturating_add(1);
            let (size, count) =
                if holds(Defence::Disk) { (size, count) } else { (1 << 30, 1 << 20) };
            CString::new(format!(
                "size={size},nr_inodes={count},mode={mode},uid={INSIDE},gid={INSIDE}"
            ))
        };
        let own = u64::from(limits.processes).saturating_add(1);
        let mut rlimits = confine::process_limits(limits, order.counted);
        rlimits.retain(|(resource, _)| match resource {
            Resource::Data => holds(Defence::Memory),
            Resource::Fsize => holds(Defence::Disk),
            _ => true,
        });
        let env = [
            ("PATH", setup.path.as_str()),
            ("HOME", HOME),
            ("LANG", "C.UTF-8"),
            ("TZ", "UTC"),
            ("TERM", "dumb"),
        ];
        let filtered = !order.counted && holds(Defence::Filter);
        Ok(Plan {
            places: [
                ("mounting /workspace", c"/workspace", place(limits.disk, "0755")?),
                ("mounting /tmp", c"/tmp", place(limits.disk, "1777")?),
                ("mounting /dev/shm", c"/dev/shm", place(confine::shared_memory(limits), "1777")?),
            ],
            processes: holds(Defence::Processes).then(|| confine::bounded(Resource::Nproc, own)),
            around: Surroundings {
                env: env.map(|(name, value)| (name.to_string(), value.to_string())).into(),
                rlimits,
                filter: filtered.then(|| filters.uncounted.clone()),
                output: limits.output,
                counted_apart: true,
                _third: None,
            },
            order,
        })
    }
}
