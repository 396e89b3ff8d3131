import Admin
import AsyncInvoke
import Base
import Catalog
import Config
import Crypto
import EventQueue
import Foundation
import Invoker
import LambdaAPI
import Net
import Objects
import S3API
import Sandbox
import SigV4
import UV

/// Wires the modules into one running Hearth. Lives on the main thread, which is the loop's.
final class Server {
    /// As it was at the start.
    let config: RuntimeConfig
    let data: DataDirectory
    let credentials: Credentials
    private let loop: Loop
    private let catalog: Catalog
    private let cgroups: Cgroups?
    private let cache: SharedCache
    private let objects: ObjectStore
    private let upkeep: S3Upkeep
    private let objectEvents: ObjectEvents
    private let scheduler: Scheduler
    private let eventStore: EventStore
    private let cacheFace: CacheFace
    private let invoker: Invoker
    private let admin: AdminService
    private let front: HTTPListener
    private let api: HTTPListener
    private var signals: [SignalWatcher] = []
    private var isStopping = false
    private var patience: UV.Timer?

    init(config: RuntimeConfig) throws {
        Self.raiseOpenFilesLimit()
        self.config = config
        // Absolute, because workers run in other directories.
        data = DataDirectory(path: URL(fileURLWithPath: config.data).standardizedFileURL.path)
        try data.prepare()
        signal(SIGPIPE, SIG_IGN)
        catalog = try Catalog(directory: data.path)
        let credentials = try data.makeCredentials()
        self.credentials = credentials
        let loop = try Loop()
        self.loop = loop
        let keyring = Keys.open(config, catalog, credentials, loop: loop)
        let isolation = try Self.probeIsolation(config, data)
        cgroups = config.isolation == .off ? nil : Cgroups.find().0
        let store = CodeStore(
            catalog: catalog, directory: data.path, accountID: config.accountID, region: config.region,
            isolation: isolation, cgroups: cgroups, cacheDirectory: data.cacheDirectory)
        let disk = config.cacheDisk > 0 ? SharedCache.Disk(path: data.path + "/cache.sqlite", bytes: config.cacheDisk) : nil
        cache = try SharedCache(loop: loop, limitBytes: config.cacheMemory, disk: disk, seed: Self.randomSeed())
        invoker = try Invoker(
            loop: loop, snapshot: catalog.snapshot, codeStore: store, cache: cache.cache, keyring: keyring,
            settings: Self.invokerSettings(config), seed: Self.randomSeed())
        let secret = credentials.secretAccessKey
        let arnPrefix = "arn:aws:lambda:\(config.region):\(config.accountID):function:"
        eventStore = try EventStore(directory: data.path)
        objects = try ObjectService.open(config, data)
        let events = try EventDispatcher(
            invoker: invoker, store: eventStore, buckets: ObjectDestinations(objects, loop), arnPrefix: arnPrefix,
            retryDelaySeconds: config.retryDelay)
        let control = LambdaControl(
            catalog: catalog, region: config.region, accountID: config.accountID, concurrencyMax: config.concurrency,
            buckets: StoredCode(store: objects),
            codePath: { AdminService.codePath(digest: $0, secret: secret) })
        let lambda = LambdaService(invoker: invoker, control: control, events: events)
        let functionURLs = FunctionURLService(invoker: invoker, arnPrefix: arnPrefix, keyring: keyring)
        upkeep = try S3Upkeep(store: objects, loop: loop, day: .seconds(UInt64(config.daySeconds)))
        objectEvents = try ObjectEvents(objects, events, invoker, region: config.region)
        let targets = FunctionTargets(catalog: catalog, account: config.accountID)
        let s3 = ObjectService.make(config, objects, keyring, targets: targets, loop: loop, seed: Self.randomSeed())
        scheduler = try Scheduler(invoker: invoker, dispatcher: events, region: config.region, account: config.accountID)
        let sources = FunctionSources(s3, scheduler, arnPrefix: arnPrefix, owner: config.accountID)
        admin = AdminService(
            invoker: invoker, catalog: catalog, events: events, store: objects, sources: sources, keyring: keyring,
            arnPrefix: arnPrefix, secret: secret)
        let timeouts = Self.timeouts(config)
        let websites = WebsiteService(s3, hosts: config.websites, seed: Self.randomSeed())
        front = try Self.listen(
            config.front, FrontService(functions: functionURLs, websites: websites), loop, timeouts, config.connections)
        api = try Self.listen(
            config.api, APIService(lambda: lambda, admin: admin, s3: s3, keyring: keyring), loop, timeouts,
            config.connections)
        cacheFace = try CacheFace(cache.cache, config: config, data: data, credentials: credentials, loop: loop)
        cache.warm()
        functionURLs.port = front.address.port
        lambda.front = FrontAddress(host: front.address.host, port: front.address.port)
        store.start(api: Keys.endpoint(of: api.address.host, port: api.address.port))
        admin.traceRequest = { functionURLs.explain($0) }
        let box = LoopBound(invoker, on: loop)
        invoker.memo.onImpure = { [catalog] function, scope in
            // Of no consequence to anybody who waits; if it fails, an audit finds it again after the next start.
            Thread.detachNewThread { try? catalog.setImpure(scope, of: function) }
        }
        catalog.onChange { [remote = loop.remote] snapshot in
            remote.post { box.wrapped.adopt(snapshot) }
        }
    }

    private static func randomSeed() -> UInt64 { randomBytes(8).reduce(0) { $0 << 8 | UInt64($1) } }

    /// As many descriptors as the kernel lets us have: a ready function needs five, and 1024 is what most shells give.
    private static func raiseOpenFilesLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    /// The sandbox that this machine can make; refuses to go on without one that the configuration requires.
    private static func probeIsolation(_ config: RuntimeConfig, _ data: DataDirectory) throws -> Isolation? {
        // The function's user must be able to read its code.
        umask(0o022)
        let isolation = Isolation.probe(
            wanted: config.isolation != .off, dataDirectory: data.path, shown: config.sandboxShows,
            hidden: [config.functions])
        let problem = isolation == nil ? "hearth-init is not beside the hearth executable: build the whole package" : isolation?.problem
        if let problem, config.isolation == .required {
            throw Failure("sandbox.isolation = \"required\" in runtime.toml cannot be met: \(problem)")
        }
        if let problem, config.isolation == .on {
            FileHandle.standardError.write(Data("hearth: functions are not fully isolated: \(problem)\n".utf8))
        }
        return isolation
    }

    private static func invokerSettings(_ config: RuntimeConfig) -> InvokerSettings {
        var settings = InvokerSettings()
        settings.concurrencyMax = config.concurrency
        settings.workersMax = config.workers
        settings.logBytesPerFunction = config.logBytes
        settings.writesThrough = config.cacheWriteThrough
        return settings
    }

    private static func timeouts(_ config: RuntimeConfig) -> HTTPTimeouts {
        var timeouts = HTTPTimeouts()
        timeouts.head = UInt64(config.headTimeout)
        timeouts.body = UInt64(config.bodyTimeout)
        timeouts.keepAlive = UInt64(config.keepAlive)
        return timeouts
    }

    private static func listen(
        _ address: ListenAddress, _ service: any HTTPService, _ loop: Loop, _ timeouts: HTTPTimeouts, _ connectionsMax: Int
    ) throws -> HTTPListener {
        do throws(UVError) {
            return try HTTPListener(
                loop: loop, host: address.host, port: address.port, service: service, timeouts: timeouts,
                connectionsMax: connectionsMax)
        } catch {
            throw Failure.address(address, error)
        }
    }

    /// Where it listens now, with the ports that the kernel chose.
    var endpoints: DataDirectory.Endpoints {
        func text(_ listener: HTTPListener) -> String {
            ListenAddress(host: listener.address.host, port: listener.address.port).description
        }
        return DataDirectory.Endpoints(
            pid: getpid(), front: text(front), api: text(api), cache: cacheFace.address,
            cacheAsksPassword: config.cacheAsksPassword, region: config.region)
    }

    /// Runs until a signal ends it; `start` is called on another thread when the listeners answer, and itself calls what it
    /// is given, with who failed, when the functions of the start are deployed.
    ///
    /// - Parameter reload: reads the configuration again, for SIGHUP.
    func run(
        reload: @escaping () throws -> RuntimeConfig,
        _ start: @escaping @Sendable (_ deployed: (_ failed: [String]) -> Void) -> Void
    ) throws {
        try data.write(endpoints)
        signals.append(try SignalWatcher(loop: loop, signal: SIGHUP) { [unowned self] in adopt(reload) })
        for number in [SIGTERM, SIGINT] {
            signals.append(try SignalWatcher(loop: loop, signal: number) { [unowned self] in stop() })
        }
        let box = LoopBound(admin, on: loop)
        let remote = loop.remote
        Thread.detachNewThread {
            start { failed in remote.post { box.wrapped.undeployed = failed } }
        }
        upkeep.start()
        objectEvents.start()
        scheduler.start()
        // The listeners alone keep the loop running.
        loop.run()
        eventStore.flush()
        objects.close()
        cache.stop()
        data.removeEndpoints()
        cgroups?.end()
    }

    /// Takes over what can change while it runs, and names what cannot. A configuration that cannot be read changes nothing.
    private func adopt(_ reload: () throws -> RuntimeConfig) {
        let new: RuntimeConfig
        do {
            new = try reload()
            try cache.resize(limitBytes: new.cacheMemory)
        } catch {
            return tell("the configuration stays as it was: \(error)")
        }
        invoker.configure(Self.invokerSettings(new))
        for listener in [front, api] {
            listener.timeouts = Self.timeouts(new)
            listener.connectionsMax = new.connections
        }
        cacheFace.connectionsMax = new.connections
        let fixed = config.fixedKeys(unlike: new)
        tell("configuration reloaded" + (fixed.isEmpty ? "" : ", but for \(fixed.joined(separator: ", ")): restart for that"))
    }

    private func tell(_ sentence: String) { FileHandle.standardError.write(Data("hearth: \(sentence)\n".utf8)) }

    /// Stops taking connections, lets what runs end, then stops the workers. A second signal ends it at once.
    private func stop() {
        if isStopping {
            invoker.killAll()
            return loop.stop()
        }
        isStopping = true
        upkeep.stop()
        scheduler.stop()
        tell("stopping: running invocations may end, a second signal kills")
        front.drain {}
        var isDrained = false
        var areCallsOver = false
        api.drain { [unowned self] in
            isDrained = true
            if areCallsOver { loop.stop() }
        }
        cacheFace.close()
        let callsAreOver = { [unowned self] in
            areCallsOver = true
            // Uploads and downloads may end too, but not for ever: what is cut off has not been acknowledged.
            guard !isDrained, let patience = try? UV.Timer(loop: loop) else { return loop.stop() }
            self.patience = patience
            patience.start(after: Limits.drainTimeout) { [unowned self] in loop.stop() }
        }
        objectEvents.stop { [unowned self] in invoker.stop(callsAreOver) }
    }
}
