//! Compiles `protos/` with protox, so no `protoc` needs to be installed.
//! The result is one descriptor set: reflection serves it, and Python builds
//! its message classes from it.

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let protos = std::path::Path::new("../../protos");
    println!("cargo:rerun-if-changed={}", protos.display());
    // "release" with all optimisations; else "debug", whatever the profile is called.
    println!("cargo:rustc-env=ENGINE_PROFILE={}", std::env::var("PROFILE")?);
    // Cargo's word for the profile's root: "release", or "debug" for all that come of dev.
    println!("cargo:rustc-env=ENGINE_PROFILE={}", std::env::var("PROFILE")?);
    let set = protox::compile(["inference.proto"], [protos])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(out, set.encode_to_vec())?;
    Ok(())
}
