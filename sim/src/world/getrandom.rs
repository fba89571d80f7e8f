//! The C library's `getrandom`, interposed: inside a world it answers from the world's seed.
//!
//! The standard library seeds its hash maps with it, and so do dependencies that know nothing of
//! [`platform::Env`]. Threads that belong to no world get the kernel's randomness.
#![allow(unsafe_code)] // A symbol of the C library can only be replaced by an unsafe function.

use std::cell::RefCell;
use std::ffi::{c_uint, c_void};

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

thread_local! {
    static STREAM: RefCell<Option<ChaCha8Rng>> = const { RefCell::new(None) };
}

/// From now on this thread's `getrandom` answers from the stream.
pub(super) fn install(stream: ChaCha8Rng) {
    // Names the function, so that no linker leaves it out.
    std::hint::black_box(getrandom as unsafe extern "C" fn(_, _, _) -> _);
    STREAM.set(Some(stream));
}

/// Fills the buffer from this thread's stream; without one, asks the kernel.
///
/// # Safety
/// As for `getrandom(2)`: `buffer` is valid for writes of `length` bytes.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn getrandom(
    buffer: *mut c_void,
    length: usize,
    flags: c_uint,
) -> isize {
    // A thread that is ending has no stream any more.
    let answered = STREAM.try_with(|stream| {
        let mut stream = stream.try_borrow_mut().ok()?;
        let stream = stream.as_mut()?;
        if length > 0 {
            // SAFETY: the caller vouches for the buffer. It may be uninitialised, so it is
            // written before anything sees it as bytes.
            let bytes = unsafe {
                std::ptr::write_bytes(buffer.cast::<u8>(), 0, length);
                std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length)
            };
            stream.fill_bytes(bytes);
        }
        isize::try_from(length).ok()
    });
    match answered {
        Ok(Some(length)) => length,
        // SAFETY: the arguments are those of the system call; it sets `errno` as the function it
        // stands for does.
        _ => unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as isize },
    }
}
