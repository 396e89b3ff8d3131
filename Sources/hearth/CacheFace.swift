import Base
import Cache
import CacheAPI
import Config
import Foundation
import Invoker
import SigV4
import UV

/// The node's cache for Redis clients: a TCP address for whoever knows the secret, a unix socket for the owner of
/// the data directory, and one for functions.
final class CacheFace {
    private let service: CacheService
    private var listeners: [CacheListener] = []
    private var turn: CacheTurn?
    let address: String
    /// Of each listener.
    var connectionsMax = 0 { didSet { for listener in listeners { listener.connectionsMax = connectionsMax } } }

    init(_ cache: Cache, config: RuntimeConfig, data: DataDirectory, credentials: Credentials, loop: Loop) throws {
        var options = CacheOptions(user: credentials.accessKeyID, password: credentials.secretAccessKey)
        options.views = [config.cacheViews: "memo", config.cacheViews + 1: "edge"]
        options.processID = getpid()
        options.port = config.cache.port
        options.keepsData = config.cacheKeepsData && config.cacheDisk > 0
        options.seed = UInt64.random(in: .min ... .max)
        service = try CacheService(
            cache: cache, options: options, clock: Clock(now: loop.now, epochMilliseconds: Loop.epochMilliseconds))
        let tcp = try Self.listen(config, service, loop)
        address = ListenAddress(host: tcp.address.host, port: tcp.address.port).description
        listeners.append(tcp)
        mkdir(data.cacheDirectory, 0o755)
        // whoever can enter the data directory, or is shown this one, may use the second
        let sockets: [(path: String, mode: UInt32, door: Door)] = [
            (data.cacheSocket, 0o600, .owner), ("\(data.cacheDirectory)/\(CodeStore.cacheSocket)", 0o666, .function),
        ]
        for socket in sockets {
            do {
                listeners.append(
                    try CacheListener(
                        loop: loop, place: .unix(path: socket.path, mode: socket.mode), door: socket.door, service: service,
                        connectionsMax: config.connections))
            } catch {
                FileHandle.standardError.write(Data("hearth: the cache has no unix socket at \(socket.path): \(error)\n".utf8))
            }
        }
        turn = try CacheTurn(loop: loop, service: service) { [unowned self] in listeners }
    }

    private static func listen(_ config: RuntimeConfig, _ service: CacheService, _ loop: Loop) throws -> CacheListener {
        do throws(UVError) {
            return try CacheListener(
                loop: loop, place: .tcp(host: config.cache.host, port: config.cache.port),
                door: config.cacheAsksPassword ? .password : .owner, service: service, connectionsMax: config.connections)
        } catch {
            throw Failure.address(config.cache, error)
        }
    }

    func close() {
        for listener in listeners { listener.close() }
        turn?.close()
    }
}

extension DataDirectory.Endpoints {
    /// What Redis clients take: the secret has characters that must be escaped in a URL.
    func cacheURL(_ credentials: Credentials) -> String {
        guard cacheAsksPassword else { return "redis://\(cache)/0" }
        let secret = credentials.secretAccessKey.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
        return "redis://default:\(secret)@\(cache)/0"
    }
}
