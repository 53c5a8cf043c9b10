//! What a sandbox takes away from the processes in it: capabilities, system calls, resources.

use std::collections::BTreeMap;
use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getrlimit, set_dumpable_behavior,
    set_parent_process_death_signal,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use super::Limits;

/// Gives up every capability, for good, and makes this process die with its parent and invisible
/// to `ptrace` and to its siblings' eyes in `/proc`.
pub(crate) fn give_up_privileges() -> io::Result<()> {
    clear_ambient_capability_set()?;
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        // The kernel knows about forty; the first unknown one ends the list.
        if remove_capability_from_bounding_set(capability).is_err() {
            break;
        }
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    set_no_new_privs(true)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

/// The filters of system calls, compiled once by the helper.
///
/// Installing one costs the kernel a translation and a walk over all system calls, for every sandbox
/// again. So what an init has no use for either is refused to the helper already, and inherited; an
/// init adds only what it needs itself until its sandbox stands.
pub(crate) struct Filters {
    early: Vec<BpfProgram>,
    last: BpfProgram,
    /// For commands where no control group counts memory: refuses the kinds of memory that belong
    /// to no process, which a watch over processes cannot see.
    pub(crate) uncounted: BpfProgram,
}

impl Filters {
    /// Compiles them.
    pub(crate) fn compile() -> io::Result<Filters> {
        let refused = compile(refused()?, libc::EPERM)?;
        let last = compile(builders()?, libc::EPERM)?;
        // The C library falls back to `clone`, whose flags a filter can read; those of `clone3`
        // lie in memory.
        let absent = compile(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)?;
        let homeless = [libc::SYS_memfd_create, libc::SYS_memfd_secret, libc::SYS_shmget];
        let uncounted = homeless.map(|call| (call, Vec::new())).into_iter().collect();
        let uncounted = compile(uncounted, libc::ENOSYS)?;
        Ok(Filters { early: vec![refused, absent, foreign_numbers()], last, uncounted })
    }

    /// Installs those that do not hinder the building of sandboxes.
    pub(crate) fn install_early(&self) -> io::Result<()> {
        self.early.iter().try_for_each(install)
    }

    /// Installs the rest: after this, and [`Filters::install_early`], all hold that hold for
    /// everything in a sandbox.
    pub(crate) fn install_last(&self) -> io::Result<()> {
        install(&self.last)
    }
}

fn install(program: &BpfProgram) -> io::Result<()> {
    seccompiler::apply_filter(program).map_err(io::Error::other)
}

fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> io::Result<BpfProgram> {
    let arch: TargetArch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let action = SeccompAction::Errno(errno as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, action, arch)
        .and_then(BpfProgram::try_from)
        .map_err(io::Error::other)
}

/// A condition on the lower half of an argument.
fn word(arg: u8, op: SeccompCmpOp, value: u64) -> io::Result<SeccompCondition> {
    SeccompCondition::new(arg, SeccompCmpArgLen::Dword, op, value).map_err(io::Error::other)
}

fn rule(conditions: Vec<SeccompCondition>) -> io::Result<SeccompRule> {
    SeccompRule::new(conditions).map_err(io::Error::other)
}

/// The system calls that sandboxes are built with, and that nothing in one needs.
fn builders() -> io::Result<BTreeMap<i64, Vec<SeccompRule>>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        BUILDERS.iter().map(|call| (*call, Vec::new())).collect();
    // New namespaces, by any of their bits.
    let mut clones = Vec::new();
    for flag in NAMESPACES {
        let flag = *flag as u64;
        clones.push(rule(vec![word(0, SeccompCmpOp::MaskedEq(flag), flag)?])?);
    }
    rules.insert(libc::SYS_clone, clones);
    Ok(rules)
}

/// The system calls that neither an init nor a command in a sandbox needs and that have been ways
/// out of one.
fn refused() -> io::Result<BTreeMap<i64, Vec<SeccompRule>>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();

    // Sockets of families that network namespaces do not confine (to the hypervisor, to the
    // kernel's cipher code) and of old, little read ones.
    let mut families = Vec::new();
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
        families.push(word(0, SeccompCmpOp::Ne, family as u64)?);
    }
    let families = rule(families)?;
    rules.insert(libc::SYS_socket, vec![families.clone()]);
    rules.insert(libc::SYS_socketpair, vec![families]);

    // Execution domains other than Linux's own, with and without address randomisation.
    let mut domains = Vec::new();
    for domain in [0, 0x0004_0000, 0xffff_ffff] {
        domains.push(word(0, SeccompCmpOp::Ne, domain)?);
    }
    rules.insert(libc::SYS_personality, vec![rule(domains)?]);

    // Typing into somebody's terminal.
    let mut typing = Vec::new();
    for request in [libc::TIOCSTI, libc::TIOCLINUX] {
        typing.push(rule(vec![word(1, SeccompCmpOp::Eq, request)?])?);
    }
    rules.insert(libc::SYS_ioctl, typing);
    Ok(rules)
}

const NAMESPACES: &[i32] = &[
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

const BUILDERS: &[i64] =
    &[libc::SYS_mount, libc::SYS_pivot_root, libc::SYS_setns, libc::SYS_umount2, libc::SYS_unshare];

const REFUSED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// Refuses the numbers from 2^30 on, with which x86-64 kernels also know every system call (the
/// x32 interface): a list of numbers to refuse would let those through.
fn foreign_numbers() -> BpfProgram {
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    vec![
        sock_filter { code: LOAD_NUMBER, jt: 0, jf: 0, k: 0 },
        sock_filter { code: JUMP_IF_AT_LEAST, jt: 0, jf: 1, k: 0x4000_0000 },
        sock_filter {
            code: RETURN,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
        },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ]
}

/// The limits of every single process of a command. Where no control group counts memory
/// (`counted` is false), a process may hold at most twice the sandbox's memory in private pages:
/// the watch kills the sandbox's processes at the limit itself, this catches what outruns it.
/// `RLIMIT_AS` would also stop programs that only reserve addresses, as Node.js and Java do.
pub(crate) fn process_limits(limits: &Limits, counted: bool) -> Vec<(Resource, Rlimit)> {
    let mut wanted = vec![
        (Resource::Nofile, limits.open_files),
        (Resource::Fsize, limits.disk),
        (Resource::Core, 0),
    ];
    if !counted {
        wanted.push((Resource::Data, limits.memory.saturating_mul(2)));
    }
    let mut all: Vec<_> =
        wanted.into_iter().map(|(resource, value)| (resource, bounded(resource, value))).collect();
    // A second between the signal that a shell explains (SIGXCPU) and the one that cannot be
    // ignored.
    let last = bounded(Resource::Cpu, limits.cpu_seconds.saturating_add(1)).maximum;
    let first = bounded(Resource::Cpu, limits.cpu_seconds).current;
    all.push((Resource::Cpu, Rlimit { current: first, maximum: last }));
    all
}

/// Bytes that `/dev/shm` may hold.
pub(crate) fn shared_memory(limits: &Limits) -> u64 {
    limits.disk.min(64 << 20)
}

/// Bytes that processes may hold beside files of `files` bytes. What commands write to the
/// workspace, `/tmp` and `/dev/shm` lies in memory and counts, but never takes more than half of
/// it: else a sandbox full of files could not even be looked into any more.
pub(crate) fn memory_beside(limits: &Limits, files: u64) -> u64 {
    limits.memory.saturating_sub(files).max(limits.memory / 2)
}

/// Bytes of memory for processes and files together; see [`memory_beside`].
pub(crate) fn whole_memory(limits: &Limits) -> u64 {
    let files = limits.disk.saturating_mul(2).saturating_add(shared_memory(limits));
    limits.memory.max(files.saturating_add(limits.memory / 2))
}

/// Whether a control group that lets [`whole_memory`] through lets processes hold clearly more than
/// they may: then their own memory is watched as well.
pub(crate) fn needs_watch(limits: &Limits) -> bool {
    whole_memory(limits) > limits.memory.saturating_add(limits.memory / 4)
}

/// A limit on both levels, or the one we live under where that is lower.
pub(crate) fn bounded(resource: Resource, value: u64) -> Rlimit {
    let value = getrlimit(resource).maximum.map_or(value, |maximum| value.min(maximum));
    Rlimit { current: Some(value), maximum: Some(value) }
}
