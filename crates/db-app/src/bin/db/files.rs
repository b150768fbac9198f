//! How many files and connections the program may have open. What it does with them is the business of others.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// No more than this, which is plenty: some systems allow a thousand million, and there are programs that try to close as many
/// when they start.
const MOST: u64 = 65_536;

/// Takes as many as the system allows. A usual shell gives 1,024, of which many callers who hold their connections would leave
/// none for the probes, and none for the database.
pub(crate) fn allow_many() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let wanted = hard.min(MOST);
    if soft >= wanted {
        return;
    }
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        tracing::debug!(target: "db", %error, soft, wanted, "the limit of open files stays as it is");
    }
}
