//! Where the program's memory comes from.
//!
//! mimalloc is the quickest with many threads, and spreads what it gives over many pages. The helper
//! that makes sandboxes has one thread and is copied for each of them, page by page: it takes the
//! system's allocator, which keeps together what is small.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{CStr, c_char, c_int};
use std::sync::atomic::{AtomicBool, Ordering};

use mimalloc::MiMalloc;

/// Whether this process is a helper. Told before the first memory is asked for, and never again.
static IS_HELPER: AtomicBool = AtomicBool::new(false);

/// mimalloc, or the system's allocator in a helper.
pub(crate) struct ByRole;

#[expect(unsafe_code, reason = "an allocator is unsafe by its nature")]
// SAFETY: all memory comes from one allocator, which is asked for the same with the same words.
unsafe impl GlobalAlloc for ByRole {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps to the contract, which is the same.
        unsafe { if is_helper() { System.alloc(layout) } else { MiMalloc.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            if is_helper() { System.alloc_zeroed(layout) } else { MiMalloc.alloc_zeroed(layout) }
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above; the allocator that gave it is the one that is there now.
        unsafe {
            if is_helper() {
                System.dealloc(memory, layout);
            } else {
                MiMalloc.dealloc(memory, layout);
            }
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            if is_helper() {
                System.realloc(memory, layout, size)
            } else {
                MiMalloc.realloc(memory, layout, size)
            }
        }
    }
}

fn is_helper() -> bool {
    IS_HELPER.load(Ordering::Relaxed)
}

/// Looks at the first argument, when the C library hands the arguments to those who begin before the
/// program does. Only that of GNU does; elsewhere a helper is as others are.
extern "C" fn look(count: c_int, arguments: *const *const c_char, _: *const *const c_char) {
    if count < 2 || arguments.is_null() {
        return;
    }
    #[expect(unsafe_code, reason = "arguments are C's here")]
    // SAFETY: there are as many arguments as are counted, each ended by a zero byte.
    let first = unsafe { CStr::from_ptr(*arguments.add(1)) };
    let is_helper = first.to_bytes() == claw::sandbox::HELPER_ARGUMENT.as_bytes();
    IS_HELPER.store(is_helper, Ordering::Relaxed);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[used]
#[expect(unsafe_code, reason = "what runs before the program is listed in a section of its own")]
// SAFETY: functions of this section are called with these arguments by this C library, before any
// memory is asked for here.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = look;
