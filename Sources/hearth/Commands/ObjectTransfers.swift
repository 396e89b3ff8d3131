import ArgumentParser
import Client
import Foundation

/// A number of bytes: `16M`.
struct ByteCount: ExpressibleByArgument {
    let bytes: Int

    init?(argument: String) {
        let units: [Character: Int] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30]
        let unit = argument.last.flatMap { units[$0] }
        guard let number = Int(unit == nil ? argument[...] : argument.dropLast()), number > 0 else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: unit ?? 1)
        if overflow { return nil }
        self.bytes = bytes
    }
}

struct TransferOptions: ParsableArguments {
    @Option(help: "So many connections at a time, 1 to 64.") var parallel = 4
    @Flag(name: [.short, .long], help: "No progress.") var quiet = false

    func validate() throws {
        guard (1...64).contains(parallel) else { throw ValidationError("--parallel \(parallel) is not between 1 and 64") }
    }
}

struct ObjectPut: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "put", abstract: "Send a file, or - for standard input, as an object.",
        discussion: """
            A large file goes as parts over several connections. When it was interrupted, the same command goes on where it stopped: parts that \
            have arrived are held to the file and not sent again. Standard input cannot be gone on with.
            """)

    @Argument(help: "The file; - for standard input.") var file: String
    @Argument(help: "BUCKET/KEY; BUCKET or BUCKET/DIRECTORY/ keeps the file's name.") var place: S3Place
    @Option(help: "Content-Type; guessed from the name if not given.") var type: String?
    @Option(help: "Storage class, as in STANDARD_IA.") var storageClass: String?
    @Option(help: "Bytes of one part, 5M to 5G; files of more than 10,000 parts get larger ones.") var partSize: ByteCount?
    @OptionGroup var transfer: TransferOptions
    @OptionGroup var connection: Connection

    func validate() throws {
        if let bytes = partSize?.bytes, !(5 << 20...5 << 30).contains(bytes) { throw ValidationError("--part-size is between 5M and 5G") }
        if file == "-", place.key.isEmpty || place.key.hasSuffix("/") { throw ValidationError("standard input has no name: name the object as BUCKET/KEY") }
    }

    func run() throws {
        var place = place
        if place.key.isEmpty || place.key.hasSuffix("/") { place.key += (file as NSString).lastPathComponent }
        let total = file == "-" ? nil : (try? FileManager.default.attributesOfItem(atPath: file)[.size] as? NSNumber)?.int64Value
        let display = TransferDisplay(name: file == "-" ? place.key : (file as NSString).lastPathComponent, total: total, isShown: isShown)
        let result: S3Upload.Result = try connection.withS3(place) { client in
            var upload = S3Upload(client, to: place)
            upload.headers = [(name: "content-type", value: type ?? contentType(place.key))]
            if let storageClass { upload.headers.append((name: "x-amz-storage-class", value: storageClass)) }
            if let partSize { upload.partBytes = partSize.bytes }
            upload.lanes = transfer.parallel
            upload.journalDirectory = stateDirectory
            upload.onProgress = { display.add($0, isResumed: $1) }
            do throws(ClientError) {
                return file == "-" ? try upload.send(stream: STDIN_FILENO) : try upload.send(file: file)
            } catch {
                display.end()
                guard file != "-", error.isTransient, (total ?? 0) > Int64(upload.partBytes) else { throw error }
                throw Failure("\(error.description); what has arrived is kept: the same command goes on from there")
            }
        }
        display.end()
        if connection.json {
            return sayJSON([
                "bucket": place.bucket, "key": place.key, "bytes": result.size, "etag": result.etag, "parts": result.parts,
                "resumed_bytes": result.resumed,
            ])
        }
        let resumed = result.resumed > 0 ? ", \(TransferProgress.bytes(result.resumed)) of it before" : ""
        say("sent \(plain(place.description)), \(TransferProgress.bytes(result.size))\(resumed)")
    }

    private var isShown: Bool { !transfer.quiet && !connection.json }

    /// Uploads under way are remembered where the XDG Base Directory Specification wants state.
    private var stateDirectory: String? {
        let environment = ProcessInfo.processInfo.environment
        if let state = environment["XDG_STATE_HOME"], state.hasPrefix("/") { return state + "/hearth/uploads" }
        return environment["HOME"].map { $0 + "/.local/state/hearth/uploads" }
    }
}

/// By the name's end; the IANA names of what people keep.
private func contentType(_ name: String) -> String {
    let types = [
        "html": "text/html", "htm": "text/html", "css": "text/css", "js": "text/javascript", "mjs": "text/javascript", "txt": "text/plain",
        "md": "text/markdown", "csv": "text/csv", "json": "application/json", "xml": "application/xml", "pdf": "application/pdf",
        "zip": "application/zip", "gz": "application/gzip", "zst": "application/zstd", "tar": "application/x-tar", "png": "image/png",
        "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "svg": "image/svg+xml", "webp": "image/webp", "ico": "image/x-icon",
        "mp3": "audio/mpeg", "mp4": "video/mp4", "webm": "video/webm", "wasm": "application/wasm", "woff2": "font/woff2",
    ]
    return types[(name as NSString).pathExtension.lowercased()] ?? "application/octet-stream"
}

struct ObjectGet: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get", abstract: "Fetch an object into a file, or - for standard output.",
        discussion: """
            A large object comes in ranges over several connections, into FILE.hearth-part, which gets the name FILE when it is whole and has been \
            held to the object's checksum. When it was interrupted, the same command goes on where it stopped.
            """)

    @Argument(help: "BUCKET/KEY") var place: S3Place
    @Argument(help: "The file, or a directory; - for standard output; the object's name in the current directory if not given.") var file: String?
    @OptionGroup var transfer: TransferOptions
    @OptionGroup var connection: Connection

    func validate() throws { try expectKey(place) }

    func run() throws {
        if file == "-" { return try writeOut([place], connection) }
        let path = try target()
        let result: S3Download.Result = try connection.withS3(place) { client in
            let facts = try client.head(place)
            let display = TransferDisplay(
                name: (path as NSString).lastPathComponent, total: facts.size, isShown: !transfer.quiet && !connection.json)
            defer { display.end() }
            var download = S3Download(client, from: place)
            download.lanes = transfer.parallel
            download.onProgress = { display.add($0, isResumed: $1) }
            do throws(ClientError) { return try download.fetch(facts, into: path) } catch {
                guard error.isTransient else { throw error }
                throw Failure("\(error.description); what has arrived is kept in \(path).hearth-part: the same command goes on from there")
            }
        }
        if connection.json {
            return sayJSON([
                "bucket": place.bucket, "key": place.key, "file": path, "bytes": result.size, "etag": result.etag,
                "resumed_bytes": result.resumed, "verified": result.isVerified,
            ])
        }
        let resumed = result.resumed > 0 ? ", \(TransferProgress.bytes(result.resumed)) of it before" : ""
        say("fetched \(path), \(TransferProgress.bytes(result.size))\(resumed)\(result.isVerified ? "" : " (the server has no checksum of the whole)")")
    }

    private func target() throws -> String {
        let name = (place.key as NSString).lastPathComponent
        let path = file ?? name
        var isDirectory: ObjCBool = false
        let isThere = FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
        if isThere, isDirectory.boolValue { return (path as NSString).appendingPathComponent(name) }
        if name.isEmpty || name == ".." || name == "." || path.hasSuffix("/") {
            throw Failure("\(plain(place.key)) gives no name for a file: name the file")
        }
        return path
    }
}

private func expectKey(_ place: S3Place) throws {
    if place.key.isEmpty { throw ValidationError("\(place) is a bucket: name an object as BUCKET/KEY") }
}

struct ObjectCat: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "cat", abstract: "Write objects to standard output.")

    @Argument(help: "BUCKET/KEY, one after the other.") var places: [S3Place]
    @OptionGroup var connection: Connection

    func validate() throws {
        if places.isEmpty { throw ValidationError("name objects as BUCKET/KEY") }
        for place in places { try expectKey(place) }
    }

    func run() throws { try writeOut(places, connection) }
}

private func writeOut(_ places: [S3Place], _ connection: Connection) throws {
    for place in places {
        try connection.withS3(place) { client in _ = try S3Download(client, from: place).fetch(client.head(place), into: STDOUT_FILENO) }
    }
}

/// Shows how far a transfer is, on standard error when that is a terminal.
///
/// Thread rule: any thread.
final class TransferDisplay: @unchecked Sendable {
    private static let pauseMilliseconds: Int64 = 100
    private let lock = NSLock()
    private let begun = Date()
    private let isShown: Bool
    private var progress: TransferProgress
    private var shown: Int64 = -1000

    init(name: String, total: Int64?, isShown: Bool) {
        progress = TransferProgress(name: plain(name), total: total)
        self.isShown = isShown && isatty(STDERR_FILENO) == 1
    }

    func add(_ bytes: Int64, isResumed: Bool) {
        lock.withLock {
            progress.done += bytes
            if isResumed { progress.resumed += bytes }
            let elapsed = Int64(Date().timeIntervalSince(begun) * 1000)
            guard isShown, elapsed - shown >= Self.pauseMilliseconds || progress.done == progress.total else { return }
            shown = elapsed
            write("\r\u{1B}[K" + progress.line(afterMilliseconds: elapsed, columns: columns - 1))
        }
    }

    /// Takes the line away.
    func end() { lock.withLock { if isShown, shown >= 0 { write("\r\u{1B}[K") } } }

    private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }

    private var columns: Int {
        var size = winsize()
        return ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 20 ? Int(size.ws_col) : 80
    }
}
