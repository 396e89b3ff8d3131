import Accelerate
import Base
import Config
import Crypto
import Foundation
import Net
import SigV4
import UV

/// Wires the modules into one running edge. Lives on the main thread, which is the loop's.
final class Edge {
    /// Where an origin is.
    struct Origin {
        let host: String
        let port: Int

        /// Reads `http://HOST[:PORT][/]`; a failure in one sentence for anything else.
        init(_ text: String) throws {
            let right = "write the origin as http://HOST:PORT"
            guard !text.hasPrefix("https:") else {
                throw Failure("\(text): an edge speaks plain HTTP to its origin; let a tunnel (WireGuard, stunnel) carry it, and \(right)")
            }
            guard let url = URL(string: text), url.scheme == "http", let host = url.host, !host.isEmpty, url.query == nil, url.user == nil,
                url.path.isEmpty || url.path == "/"
            else { throw Failure("\(text) is no origin: \(right)") }
            self.host = host.trimmingCharacters(in: ["[", "]"])
            port = url.port ?? 80
        }
    }

    private let loop: Loop
    private let cache: SharedCache
    private let origin: HTTPOrigin
    private let listener: HTTPListener
    private var signals: [SignalWatcher] = []
    private var isStopping = false
    private var patience: UV.Timer?

    init(config: RuntimeConfig, origin place: Origin, credentials: Credentials) throws {
        signal(SIGPIPE, SIG_IGN)
        loop = try Loop()
        let seed = randomBytes(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        cache = try SharedCache(loop: loop, limitBytes: config.cacheMemory, disk: nil, seed: seed)
        origin = try HTTPOrigin(
            loop: loop, host: place.host, port: place.port, connectionsMax: config.edgeConnections, warm: Limits.edgeWarmConnections)
        var settings = EdgeService.Settings(credentials: credentials, region: config.region)
        settings.uploadMemoryBytes = config.edgeUploadMemory
        let service = try EdgeService(loop: loop, origin: origin, cache: cache.cache, settings: settings)
        var timeouts = HTTPTimeouts()
        timeouts.head = UInt64(config.headTimeout)
        timeouts.body = UInt64(config.bodyTimeout)
        timeouts.keepAlive = UInt64(config.keepAlive)
        do throws(UVError) {
            listener = try HTTPListener(
                loop: loop, host: config.edgeListen.host, port: config.edgeListen.port, service: service, timeouts: timeouts,
                connectionsMax: config.connections)
        } catch {
            throw Failure.address(config.edgeListen, error)
        }
    }

    var address: String { ListenAddress(host: listener.address.host, port: listener.address.port).description }

    /// Runs until a signal ends it; the first lets what is under way end.
    func run() throws {
        for number in [SIGTERM, SIGINT] {
            signals.append(try SignalWatcher(loop: loop, signal: number) { [unowned self] in stop() })
        }
        // The listener alone keeps the loop running.
        loop.run()
        origin.close()
        cache.stop()
    }

    private func stop() {
        guard !isStopping, let patience = try? UV.Timer(loop: loop) else { return loop.stop() }
        isStopping = true
        self.patience = patience
        listener.drain { [unowned self] in loop.stop() }
        // Who is cut off has not been answered, and begins anew.
        patience.start(after: .seconds(30)) { [unowned self] in loop.stop() }
    }
}
