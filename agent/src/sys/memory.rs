//! The process's own memory.

/// Gives what was freed back to the kernel, wherever it lies: of itself the allocator gives back only what lies last.
pub fn give_back() {
    // SAFETY: takes and returns integers only; what is in use is not touched.
    unsafe { libc::malloc_trim(0) };
}
