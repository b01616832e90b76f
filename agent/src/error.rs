//! From a failed system call to the error the host is told.

use crate::sys::Errno;
use crate::wire::reply::{Error, ErrorCode};

/// `what` failed on `subject`: a path, a program, a user.
pub fn failed(what: &str, subject: &[u8], errno: Errno) -> Error {
    let code = match errno.0 {
        libc::ENOENT | libc::ENOTDIR => ErrorCode::NotFound,
        libc::EACCES | libc::EPERM => ErrorCode::Permission,
        libc::EEXIST | libc::ENOTEMPTY => ErrorCode::Exists,
        libc::EAGAIN | libc::EMFILE | libc::ENFILE => ErrorCode::Busy,
        _ => ErrorCode::System,
    };
    Error { code, errno: errno.0 as u32, message: about(what, subject) }
}

/// A request that breaks a limit or makes no sense.
pub fn invalid(what: &str, subject: &[u8]) -> Error {
    Error { code: ErrorCode::Invalid, errno: 0, message: about(what, subject) }
}

/// One line: `what: subject`, the subject cut to a readable length.
pub fn about(what: &str, subject: &[u8]) -> String {
    const SUBJECT_BYTES: usize = 256;
    let mut message = String::from(what);
    if !subject.is_empty() {
        message.push_str(": ");
        message.push_str(&String::from_utf8_lossy(&subject[..subject.len().min(SUBJECT_BYTES)]));
    }
    message
}
