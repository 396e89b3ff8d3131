import Base
import Config
import Foundation
import IAM
import Objects
import S3API
import SigV4
import UV

/// Opens the object store of the data directory and puts S3 before it.
enum ObjectService {
    static func open(_ config: RuntimeConfig, _ data: DataDirectory) throws -> ObjectStore {
        let directory = data.path + "/objects"
        for path in [directory, config.coldObjects] where !path.isEmpty {
            do {
                try FileManager.default.createDirectory(
                    atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            } catch { throw Failure("cannot make the directory of objects \(path): \(error.localizedDescription)") }
        }
        var seed = SystemRandomNumberGenerator()
        var options = ObjectStore.Options(directory: directory, seed: seed.next(), clock: { Int64(Loop.epochMilliseconds) })
        if !config.coldObjects.isEmpty { options.coldDirectory = config.coldObjects }
        if let archive = config.archive {
            options.archive = S3Archive(
                endpoint: archive.endpoint, bucket: archive.bucket,
                credentials: Credentials(accessKeyID: config.archiveKey, secretAccessKey: config.archiveSecret),
                region: config.archiveRegion)
        }
        options.day = Int64(config.daySeconds) * 1000
        do {
            let store = try ObjectStore(options)
            StoredRules.load(into: store)
            return store
        } catch { throw Failure("the objects in \(directory) cannot be opened: \(error)") }
    }

    /// The node's account, and maybe a second one.
    static func make(
        _ config: RuntimeConfig, _ store: ObjectStore, _ keyring: Keyring, targets: FunctionTargets, loop: Loop, seed: UInt64
    ) -> S3Service {
        var accounts = [S3Account(id: config.accountID, name: "hearth")]
        if !config.altAccessKey.isEmpty { accounts.append(S3Account(id: Keys.altAccount(config), name: "alt")) }
        return S3Service(
            loop: loop, store: store, region: config.region, accounts: S3Accounts(accounts), targets: targets,
            dayMilliseconds: Int64(config.daySeconds) * 1000, seed: seed, keyring: keyring)
    }
}
