//! `millstream log inspect`.
pub fn inspect(_: &std::path::Path, _: bool, _: bool) -> connector_api::Result<()> {
    Ok(())
}
