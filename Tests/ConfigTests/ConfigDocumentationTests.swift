import Config
import Foundation
import Testing

/// README.md tells the keys of both configuration files; the tables of keys are the code.
@Suite struct ConfigDocumentationTests {
    @Test(arguments: ["function.toml", "runtime.toml"])
    func everyKeyStandsInTheReadmeAsTheCodeHasIt(file: String) throws {
        let keys = file == "function.toml" ? Manifest.keys : RuntimeConfig.keys
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let readme = try String(contentsOf: root.appending(path: "README.md"), encoding: .utf8)
        let section = try #require(readme.components(separatedBy: "\n## ").first { $0.hasPrefix("`\(file)`") })
        let told = section.split(separator: "\n").filter { $0.hasPrefix("| `") }.map(String.init)
        let wanted = keys.map(row)
        #expect(told == wanted, "the table of \(file) in README.md should be\n\(wanted.joined(separator: "\n"))")
    }

    private func row(_ key: ConfigKey) -> String {
        let (value, standard): (String, String?) =
            switch key.value {
            case .text(let standard): ("text", standard.flatMap { $0.isEmpty ? nil : "`\($0)`" })
            case .number(let bounds, let standard): ("\(bounds.lowerBound) to \(bounds.upperBound) \(key.unit)", standard.map(String.init))
            case .share(let standard): ("0 to 1", standard == standard.rounded() ? String(Int(standard)) : String(standard))
            case .list(let standard): ("list of texts", standard.isEmpty ? "–" : standard.map { "`\($0)`" }.joined(separator: ", "))
            case .texts: ("table of texts", nil)
            }
        return "| `\(key.path)` | \(value) | \(standard ?? "–") | \(key.help) |"
    }
}
