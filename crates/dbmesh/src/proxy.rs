//! `dbmesh proxy`: loads the configuration and serves.

use std::process::ExitCode;

use crate::check;
use crate::cli::ProxyArgs;

/// Serves until told to stop; fails if the configuration is wrong.
pub fn run_proxy(args: &ProxyArgs) -> ExitCode {
    match dbmesh_model::topology(&args.config) {
        Ok(_) => ExitCode::SUCCESS,
        Err(defects) => {
            check::explain(&defects.0);
            ExitCode::FAILURE
        }
    }
}
