//! What calls wait for: processors, sandboxes, the whole machine, memory and graphics processors.
//!
//! A call takes a place of its operator's pool. What its stage declares with `resources: { … }` is
//! taken besides, so that only as much of it runs at once as fits the machine. Everything is taken
//! in one order (graphics processors, memory, processors, sandbox, machine), so that two calls can
//! never wait for each other, and whoever asked first is served first: a call that needs much is not
//! passed by small ones for ever.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lang::Resources;
use crate::plan::Plan;

use super::operator::{CallError, Pool};

/// Parts that a processor is lent in: a call may ask for half of one.
const PARTS: f64 = 1000.0;
/// Bytes that memory is lent in.
const BLOCK: u64 = 1 << 20;

/// How much may go on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Threads that compute.
    pub threads: usize,
    /// Sandboxes open at once.
    pub sandboxes: usize,
    /// Bytes of memory that `resources` are taken from.
    pub memory: u64,
    /// Graphics processors that `resources` are taken from.
    pub gpus: u32,
}

impl Limits {
    /// What this machine has, with so many threads to compute: four sandboxes for each, the memory
    /// of the machine or of the control group that claw runs in, and NVIDIA's devices.
    pub fn of_this_machine(threads: usize) -> Limits {
        Limits { threads, sandboxes: threads * 4, memory: memory(), gpus: gpus() }
    }

    /// As many more sandboxes as the plan's stages ask for by `concurrency`. One that waits for a
    /// model costs little, and a stage that is to have a thousand rows under way must not wait for
    /// its turn.
    #[must_use]
    pub fn for_plan(self, plan: &Plan) -> Limits {
        let asked = plan.pipeline.stages.iter().filter_map(|stage| stage.policy().concurrency);
        let sandboxes = asked.fold(self.sandboxes, usize::saturating_add);
        Limits { sandboxes: sandboxes.min(Semaphore::MAX_PERMITS), ..self }
    }

    /// What a call with this need lacks here, for a person; `None` when it fits.
    pub fn lack(&self, need: &Resources) -> Option<String> {
        let asked = |asked: String, have: String| Some(format!("{asked}, and there are {have}"));
        let cpu = need.cpu.unwrap_or(0.0);
        if cpu > self.threads as f64 {
            return asked(format!("{cpu} processors"), self.threads.to_string());
        }
        if need.memory > self.memory {
            return asked(size(need.memory) + " of memory", size(self.memory));
        }
        if need.gpu > self.gpus {
            return asked(format!("{} graphics processors", need.gpu), self.gpus.to_string());
        }
        None
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64),
    }
}

/// Bytes of memory that this process may use; as much as anybody may ask for when nobody says.
fn memory() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let line = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    let machine = line.map_or(u64::MAX, |kib| kib << 10);
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let group = group.iter().find_map(|path| read(path)?.trim().parse::<u64>().ok());
    machine.min(group.unwrap_or(u64::MAX))
}

/// Graphics processors whose device files are there.
fn gpus() -> u32 {
    (0u32..64).filter(|number| Path::new(&format!("/dev/nvidia{number}")).exists()).count() as u32
}

/// The places that calls wait for.
pub(super) struct Pools {
    limits: Limits,
    gpu: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    cpu: Arc<Semaphore>,
    sandbox: Arc<Semaphore>,
    machine: Arc<Semaphore>,
}

/// What one call holds of the machine. It is given back when the last of its copies is dropped, or
/// when the call says that it needs it no more.
#[derive(Clone, Default)]
pub struct Held(Arc<Mutex<Vec<OwnedSemaphorePermit>>>);

impl Held {
    /// Gives it back, to calls that wait for it.
    pub fn give_back(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Pools {
    pub(super) fn new(limits: Limits) -> Pools {
        let places = |count| Arc::new(Semaphore::new(count));
        let blocks = usize::try_from(limits.memory / BLOCK).unwrap_or(usize::MAX);
        Pools {
            limits,
            gpu: places(limits.gpus as usize),
            memory: places(blocks.min(Semaphore::MAX_PERMITS)),
            cpu: places(limits.threads * PARTS as usize),
            sandbox: places(limits.sandboxes),
            machine: places(1),
        }
    }

    /// Threads that compute.
    pub(super) fn threads(&self) -> usize {
        self.limits.threads
    }

    /// Waits until a call of this pool, of a stage with this need, may begin. What is computed
    /// where it stands takes no place and needs nothing.
    ///
    /// # Errors
    /// When the machine can never give it.
    pub(super) async fn take(&self, pool: Pool, need: &Resources) -> Result<Held, CallError> {
        if pool == Pool::Instant {
            return Ok(Held::default());
        }
        if let Some(lack) = self.limits.lack(need) {
            return Err(CallError::row(format!("a call of the stage needs {lack} here")));
        }
        let cpu = need.cpu.unwrap_or(f64::from(u8::from(pool == Pool::Cpu)));
        let blocks = need.memory.div_ceil(BLOCK).min(u64::from(u32::MAX));
        let wanted = [
            (&self.gpu, need.gpu),
            (&self.memory, blocks as u32),
            (&self.cpu, (cpu * PARTS).ceil() as u32),
            (&self.sandbox, u32::from(pool == Pool::Sandbox)),
            (&self.machine, u32::from(pool == Pool::Machine)),
        ];
        let mut held = Vec::new();
        for (pool, count) in wanted {
            if count > 0 {
                // The pools are never closed.
                held.extend(pool.clone().acquire_many_owned(count).await.ok());
            }
        }
        Ok(Held(Arc::new(Mutex::new(held))))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that meets no value has failed")]
mod tests {
    use std::sync::Arc;

    use super::*;

    const LIMITS: Limits = Limits { threads: 4, sandboxes: 8, memory: 16 << 30, gpus: 1 };

    fn need(cpu: f64, gib: u64, gpu: u32) -> Resources {
        Resources { cpu: Some(cpu), memory: gib << 30, gpu }
    }

    #[tokio::test]
    async fn as_much_runs_as_fits() {
        let pools = Arc::new(Pools::new(LIMITS));
        // Nothing is said of processors, and a sandbox takes none by itself.
        let large = Resources { cpu: None, ..need(0.0, 8, 0) };
        let one = pools.take(Pool::Sandbox, &large).await.unwrap();
        let _two = pools.take(Pool::Sandbox, &large).await.unwrap();
        let third = tokio::spawn({
            let pools = pools.clone();
            async move { pools.take(Pool::Sandbox, &need(1.0, 8, 0)).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(!third.is_finished(), "24 GiB are more than 16");
        // Others go on: no memory is declared.
        drop(pools.take(Pool::Cpu, &Resources::default()).await.unwrap());
        drop(one);
        third.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn processors_are_lent_in_parts_and_shared_with_calls_that_declare_nothing() {
        let pools = Pools::new(LIMITS);
        let _half = pools.take(Pool::Sandbox, &need(0.5, 0, 0)).await.unwrap();
        let _three = pools.take(Pool::Cpu, &need(3.0, 0, 0)).await.unwrap();
        assert_eq!(pools.cpu.available_permits(), 500);
        assert!(pools.cpu.try_acquire_many(1000).is_err());
    }

    #[tokio::test]
    async fn what_can_never_fit_is_told() {
        let pools = Pools::new(LIMITS);
        let lacks = [
            (need(5.0, 0, 0), "5 processors, and there are 4"),
            (need(1.0, 17, 0), "17.0 GiB of memory, and there are 16.0 GiB"),
            (need(1.0, 1, 2), "2 graphics processors, and there are 1"),
        ];
        for (need, told) in lacks {
            assert_eq!(LIMITS.lack(&need).as_deref(), Some(told));
            assert!(pools.take(Pool::Cpu, &need).await.is_err());
        }
        assert_eq!(LIMITS.lack(&need(4.0, 16, 1)), None);
    }

    #[tokio::test]
    async fn what_is_given_back_early_is_there_for_others() {
        let pools = Pools::new(LIMITS);
        let held = pools.take(Pool::Cpu, &need(4.0, 16, 1)).await.unwrap();
        let copy = held.clone();
        drop(held);
        assert_eq!(pools.cpu.available_permits(), 0);
        copy.give_back();
        drop(pools.take(Pool::Cpu, &need(4.0, 16, 1)).await.unwrap());
    }

    #[test]
    fn this_machine_has_something() {
        let limits = Limits::of_this_machine(3);
        assert_eq!((limits.threads, limits.sandboxes), (3, 12));
        assert!(limits.memory > 64 << 20);
    }
}
