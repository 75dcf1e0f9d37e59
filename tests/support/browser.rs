//! A headless Chromium, driven as the WebDriver standard says.

use std::{path::Path, process::Stdio};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::PATIENCE;

/// The narrowest window of a desk; what is narrower is a phone's screen.
const NARROWEST: u32 = 500;

/// One browser with one window; it ends with this.
pub struct Browser {
    driver: Child,
    process: Option<Pid>,
    session: String,
    client: reqwest::Client,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser with a window of this size, light or dark.
    pub async fn start(width: u32, height: u32, dark: bool) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver starts (Debian: chromium-driver)");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = timeout(PATIENCE, async {
            loop {
                let line = lines.next_line().await.unwrap().expect("chromedriver says its port");
                if let Some(port) = line.split("successfully on port ").nth(1) {
                    return port.trim_end_matches('.').to_owned();
                }
            }
        });
        let base = format!("http://127.0.0.1:{}", port.await.expect("chromedriver starts in time"));
        let profile = TempDir::new().unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let options = capabilities(profile.path(), width, height, dark);
        let answer = ask(client.post(format!("{base}/session")).json(&options)).await;
        let id = answer["sessionId"].as_str().expect("a session has an id");
        let session = format!("{base}/session/{id}");
        let process = answer["capabilities"]["goog:processID"].as_i64();
        let process = process.and_then(|id| Pid::from_raw(id.try_into().ok()?));
        Self { driver, process, session, client, _profile: profile }
    }

    /// Opens a page and waits until it is there.
    pub async fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url })).await;
    }

    /// What a function body returns in the page.
    pub async fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Waits until an expression is true in the page.
    pub async fn until(&self, expression: &str) {
        let script = format!("return ({expression}) === true");
        super::eventually_ok(expression, || async {
            if self.run(&script).await == json!(true) {
                return Ok(());
            }
            Err(self.run("return document.body.innerText").await)
        })
        .await;
    }

    /// What the page has complained about.
    pub async fn complaints(&self) -> Value {
        self.post("se/log", &json!({ "type": "browser" })).await
    }

    /// Keeps a picture of the window for people to look at: below `target/`, or where
    /// `POSTRIDER_TEST_ARTEFACTS` says.
    pub async fn picture(&self, name: &str) {
        let dir = std::env::var_os("POSTRIDER_TEST_ARTEFACTS").map_or_else(
            || Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures"),
            std::path::PathBuf::from,
        );
        let answer = ask(self.client.get(format!("{}/screenshot", self.session))).await;
        let png = STANDARD.decode(answer.as_str().unwrap()).unwrap();
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(Path::new(&dir).join(format!("{name}.png")), png).unwrap();
    }

    /// Ends the browser.
    pub async fn close(mut self) {
        ask(self.client.delete(&self.session)).await;
        self.process = None;
        self.driver.kill().await.unwrap();
    }

    async fn post(&self, verb: &str, body: &Value) -> Value {
        ask(self.client.post(format!("{}/{verb}", self.session)).json(body)).await
    }
}

impl Drop for Browser {
    /// A test that fails leaves no browser behind: without its driver it would go on.
    fn drop(&mut self) {
        if let Some(process) = self.process {
            // It may have ended by itself.
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

/// Nothing of the browser's own reaches for the network.
fn capabilities(profile: &Path, width: u32, height: u32, dark: bool) -> Value {
    let mut args = vec![
        "--headless".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-quic".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--no-first-run".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1".to_owned(),
        format!("--window-size={width},{height}"),
        format!("--user-data-dir={}", profile.display()),
    ];
    if dark {
        args.push("--blink-settings=preferredColorScheme=0".to_owned());
    }
    let mut options = json!({ "args": args });
    if width < NARROWEST {
        let metrics = json!({"width": width, "height": height, "pixelRatio": 2.0, "touch": true});
        options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
    }
    json!({"capabilities": {"alwaysMatch": {
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": {"browser": "ALL"},
    }}})
}

async fn ask(request: reqwest::RequestBuilder) -> Value {
    let response = timeout(PATIENCE, request.send()).await.expect("it answers in time").unwrap();
    let mut answer: Value = response.json().await.unwrap();
    let value = answer["value"].take();
    assert!(value.get("error").is_none(), "{value}");
    value
}
