import Config
import Foundation

/// The directory whose functions a server deploys at its start, and with `--watch` on every save.
struct FunctionsDirectory: Sendable {
    let path: String
    let client: APIClient
    let front: String
    let report: ServeReport

    private var names: [String] {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        return all.sorted().filter { name in
            var isDirectory: ObjCBool = false
            return Manifest.isName(name) && FileManager.default.fileExists(atPath: "\(path)/\(name)", isDirectory: &isDirectory)
                && isDirectory.boolValue
        }
    }

    /// Deploys each; says what failed and goes on. Returns who did.
    func deployAll() -> [String] { names.filter { !deploy($0) } }

    private func deploy(_ name: String, built: @escaping () -> Void = {}) -> Bool {
        do {
            let result = try Deployment(directory: "\(path)/\(name)", name: name, client: client, built: built).run()
            report.deployed(name, result, url: "http://\(front)/\(name)/")
            return true
        } catch {
            report.failed(name, error)
            return false
        }
    }

    /// Looks for saved files twice a second, for ever. (Editors replace files in too many ways for a watch on each.)
    func watch() {
        var seen = stamps()
        while true {
            Thread.sleep(forTimeInterval: 0.5)
            var now = stamps()
            for name in names where now[name] != seen[name] {
                // What the build command writes is no save: it would be deployed for ever.
                _ = deploy(name) { now[name] = stamp(of: name) }
            }
            seen = now
        }
    }

    /// The newest change of any file of each function, and how many there are.
    private func stamps() -> [String: [Int]] {
        Dictionary(uniqueKeysWithValues: names.map { ($0, stamp(of: $0)) })
    }

    private func stamp(of name: String) -> [Int] {
        var newest = 0
        var count = 0
        let files = FileManager.default.enumerator(atPath: "\(path)/\(name)")
        while let file = files?.nextObject() as? String {
            if file.contains("__pycache__") || file.contains(".git/") { continue }
            var info = stat()
            guard lstat("\(path)/\(name)/\(file)", &info) == 0 else { continue }
            count += 1
            newest = max(newest, info.st_mtim.tv_sec * 1_000_000_000 + info.st_mtim.tv_nsec)
        }
        return [newest, count]
    }
}
