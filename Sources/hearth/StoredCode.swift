import Base
import Foundation
import LambdaAPI
import Objects
import Synchronization

/// Packages of functions and layers that lie in buckets of this node.
struct StoredCode: CodeBuckets {
    let store: ObjectStore

    /// Waits for the store's own threads; never called on the loop.
    func object(_ bucket: String, _ key: String, version: String?) throws(CodeBucketFailure) -> [UInt8] {
        do throws(ObjectsError) {
            let request = GetRequest(
                bucket: try BucketName(bucket), key: try ObjectKey(key),
                version: try version.map { text throws(ObjectsError) in try VersionID(text) })
            let reader = try Self.wait { store.get(request, done: $0) }
            guard reader.head.range.count <= Limits.unzippedBytesMax else { throw ObjectsError.entityTooLarge }
            if let whole = reader.whole { return whole }
            var bytes: [UInt8] = []
            bytes.reserveCapacity(reader.head.range.count)
            while true {
                guard let chunk = try Self.wait({ reader.next(done: $0) }) else { return bytes }
                bytes += chunk.bytes
            }
        } catch {
            throw Self.failure(error)
        }
    }

    private static func wait<T: Sendable>(_ start: (@escaping ObjectStore.Done<T>) -> Void) throws(ObjectsError) -> T {
        let answered = DispatchSemaphore(value: 0)
        let answer = Answer<T>()
        start { result in
            answer.result.withLock { $0 = result }
            answered.signal()
        }
        answered.wait()
        guard let result = answer.result.withLock({ $0 }) else { throw .storage("the object store has not answered") }
        return try result.get()
    }

    private final class Answer<T: Sendable>: Sendable { let result = Mutex<Result<T, ObjectsError>?>(nil) }

    /// In S3's words, as far as Lambda passes them on (recorded).
    private static func failure(_ error: ObjectsError) -> CodeBucketFailure {
        switch error {
        case .noSuchBucket, .invalidBucketName: CodeBucketFailure(code: "NoSuchBucket", message: "The specified bucket does not exist")
        case .noSuchKey, .invalidKey, .keyTooLong: CodeBucketFailure(code: "NoSuchKey", message: "The specified key does not exist.")
        case .noSuchVersion, .invalidVersionID: CodeBucketFailure(code: "NoSuchVersion", message: "The specified version does not exist.")
        case .methodNotAllowed:
            CodeBucketFailure(code: "MethodNotAllowed", message: "The specified method is not allowed against this resource.")
        case .entityTooLarge:
            CodeBucketFailure(code: "EntityTooLarge", message: "The package is larger than \(Limits.unzippedBytesMax) bytes")
        default: CodeBucketFailure(code: "InternalError", message: "\(error)")
        }
    }
}
