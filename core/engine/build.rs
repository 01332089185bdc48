//! Tells the engine how it was built.

fn main() -> Result<(), std::env::VarError> {
    println!("cargo:rerun-if-changed=build.rs");
    // "release" with all optimisations; else "debug", whatever the profile is called.
    println!("cargo:rustc-env=ENGINE_PROFILE={}", std::env::var("PROFILE")?);
    Ok(())
}
