import Admin
import AsyncInvoke
import EventQueue
import Foundation
import Objects
import S3API
import Schedule

/// What makes events for a function, as a deployment reads it in the manifest and sends it.
struct SourceOrder: Codable {
    /// `[[on.object]]`
    struct Object: Codable {
        var bucket: String
        var events: [String]
        var prefix: String
        var suffix: String
    }

    /// `[[on.schedule]]`
    struct Timed: Codable {
        var name: String
        var expression: String
        var zone: String
        var input: String?
        var missed: String
    }

    /// Whose version is invoked.
    var qualifier: String
    var objects: [Object] = []
    var schedules: [Timed] = []
}

/// Makes the sources of a function what its deployment says: elements of the buckets' notification configurations, and schedules.
///
/// Thread rule: the loop's thread.
final class FunctionSources: EventSources {
    private let s3: S3Service
    private let scheduler: Scheduler
    private let arnPrefix: String
    /// The account that owns buckets which are made.
    private let owner: String

    init(_ s3: S3Service, _ scheduler: Scheduler, arnPrefix: String, owner: String) {
        self.s3 = s3
        self.scheduler = scheduler
        self.arnPrefix = arnPrefix
        self.owner = owner
    }

    var schedules: [ScheduleRow] { scheduler.rows }

    func set(_ json: [UInt8], of function: String, _ done: @escaping (String?) -> Void) {
        guard let order = try? JSONDecoder().decode(SourceOrder.self, from: Data(json)) else {
            return done("the sources of a function are an object with qualifier, objects and schedules")
        }
        // Elements of a configuration that begin so are those of this function's manifest; a name has no colon.
        let mark = "hearth:\(function):"
        var rules: [(bucket: BucketName, rule: NotificationRule)] = []
        for (index, object) in order.objects.enumerated() {
            guard let bucket = try? BucketName(object.bucket) else { return done("\(object.bucket) is no name of a bucket") }
            let kinds = object.events.reduce(into: Set<ObjectEventKind>()) { $0.formUnion(ObjectEventKind.named($1)) }
            rules.append(
                (
                    bucket,
                    NotificationRule(
                        id: mark + "\(index + 1)", target: "\(arnPrefix)\(function):\(order.qualifier)", kinds: kinds,
                        prefix: Array(object.prefix.utf8), suffix: Array(object.suffix.utf8))
                ))
        }
        let rows = order.schedules.map { timed in
            ScheduleRow(
                function: function, name: timed.name, qualifier: order.qualifier, expression: timed.expression, zone: timed.zone,
                input: timed.input, missed: timed.missed, start: 0, next: nil)
        }
        s3.replaceNotifications(mark, with: rules, owner: owner) { [scheduler] refusal in
            if let refusal { return done("the buckets cannot tell \(function): \(refusal)") }
            scheduler.set(rows, of: function, done)
        }
    }
}
