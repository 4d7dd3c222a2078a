//! Compiles `prelim/v1/*.proto` with protox, so that no protoc needs to be installed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let files = ["study_service", "worker_service"].map(|name| format!("prelim/v1/{name}.proto"));
    println!("cargo:rerun-if-changed=prelim");
    let descriptors = protox::compile(&files, ["."])?;
    // Reflection serves these.
    let out = PathBuf::from(env::var("OUT_DIR")?).join("prelim_v1.bin");
    fs::write(out, descriptors.encode_to_vec())?;
    // Pieces of objects are passed on without a copy.
    tonic_prost_build::configure().bytes(".prelim.v1.ReadObjectResponse.chunk").compile_fds(descriptors)?;
    Ok(())
}
