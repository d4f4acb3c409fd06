// Search in a site that was opened from disk. Browsers start no worker from a file, so its script runs in a hidden frame.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.answer = data => this.dispatchEvent(new MessageEvent("message", { data }))
      document.documentElement.append(frame)
      this.started = new Promise(resolve => { frame.started = () => resolve(frame.contentWindow) })
      frame.contentDocument.write(
        `<script>postMessage = data => frameElement.answer(data)</script>`,
        `<script src="${url}" onload="frameElement.started()"></script>`)
      frame.contentDocument.close()
    }

    postMessage(data) {
      this.started.then(scope => scope.dispatchEvent(new MessageEvent("message", { data })))
    }
  }
}
