import Foundation

/// A stock client from the package index, installed once a test run; nil where pip reaches none.
package struct RuntimeClient {
    package let directory: String
    package let interpreter: String
    package let interpreterHome: String

    private static let holder = try? TemporaryDirectory()

    package static let awslambdaric = install("awslambdaric")
    package static let redis = install("redis==5.2.1")

    private static func install(_ name: String) -> RuntimeClient? {
        guard let holder else { return nil }
        let target = "\(holder.path)/\(name)"
        let question = try? run(["python3", "-c", "import sys; print(sys.executable); print(sys.base_prefix)"])
        let lines = question?.out.split(separator: "\n").map(String.init) ?? []
        guard lines.count == 2, let result = try? run(
            [lines[0], "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--target", target, name], seconds: 50)
        else { return nil }
        guard result.code == 0, let real = realpath(lines[0], nil) else { return nil }
        defer { free(real) }
        return RuntimeClient(directory: target, interpreter: String(cString: real), interpreterHome: lines[1])
    }
}
