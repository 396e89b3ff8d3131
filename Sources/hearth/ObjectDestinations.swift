import AsyncInvoke
import Objects
import UV

/// Puts what destinations are told of asynchronous invocations into buckets.
///
/// Thread rule: the loop's thread.
final class ObjectDestinations: DestinationBuckets {
    private let store: ObjectStore
    private let loop: Loop

    init(_ store: ObjectStore, _ loop: Loop) {
        self.store = store
        self.loop = loop
    }

    func put(_ json: [UInt8], as key: String, in bucket: String, _ done: @escaping (Bool) -> Void) {
        guard let bucket = try? BucketName(bucket), let key = try? ObjectKey(key) else { return done(false) }
        let type = Metadata(headers: [Field("content-type", "application/json")])
        let writer = store.put(PutRequest(bucket: bucket, key: key, metadata: type))
        _ = json.withUnsafeBytes { writer.write($0) {} }
        let box = LoopBound(done, on: loop)
        writer.finish { [remote = loop.remote] result in
            let isThere = (try? result.get()) != nil
            remote.post { box.wrapped(isThere) }
        }
    }
}
