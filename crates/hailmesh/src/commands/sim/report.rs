//! `hailmesh sim report`.

use std::fs;

use hailmesh_sim::report::Report;

use super::run::{pages, print, unwritable};
use crate::cli::sim::SimReportArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;

pub(super) fn run(args: &SimReportArgs, out: Output) -> Result<Exit, Failure> {
    let path = if args.report.is_dir() { args.report.join("report.json") } else { args.report.clone() };
    let text = fs::read_to_string(&path).map_err(|error| {
        Failure::new(Exit::BadConfig, format!("{}: {error}", path.display()))
            .hint("`hailmesh sim run SCENARIO --out DIR` writes a report.json")
    })?;
    let report = Report::from_json(&text)
        .map_err(|error| Failure::new(Exit::BadConfig, format!("{}: {error}", path.display())))?;
    let beside = path.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
    let folder = args.out.clone().unwrap_or(beside);
    if !folder.as_os_str().is_empty() {
        fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
    }
    pages(&folder, &report)?;
    if out.json {
        out.document(&report.summary)?;
    } else {
        print(&report.summary, out)?;
    }
    out.remark(format!("the report is {}", folder.join("report.html").display()));
    Ok(Exit::Ok)
}
