import Foundation
import TestSupport
import Testing

/// A fork copies every generator's state: each child must make its own.
@Suite struct RandomnessTests {
    @Test func aThousandForksNeverGiveTheSameNumber() throws {
        let source = """
            import os, random, secrets, ssl, uuid
            own, seeded = random.Random(), random.Random(42)
            try:
                import numpy
                array = numpy.random.default_rng()
            except ImportError: numpy = None
            first = uuid.uuid1()

            def handler(event, context):
                numbers = {
                    "random": random.random(), "secrets": secrets.token_hex(), "uuid4": str(uuid.uuid4()), "uuid1": str(uuid.uuid1()),
                    "urandom": os.urandom(16).hex(), "unseeded": own.random(), "ssl": ssl.RAND_bytes(16).hex(), "worker": os.getpid()}
                if numpy: numbers |= {"numpy": numpy.random.random(), "generator": array.random()}
                return [numbers, seeded.random()]
            """
        let server = try HearthProcess(functions: [
            .python("f", source, manifest: "timeout = 30\n[concurrency]\nprovisioned = 4\nmax = 16\nqueue_wait = 60\n[recycle]\ninvocations = 1\n")
        ])
        let answers = try concurrently(8) { _ in
            try (0..<125).map { _ in
                let answer = try server.request("POST", "/f/", seconds: 60)
                guard answer.status == 200 else { throw TestFailure("\(answer)") }
                return answer.text
            }
        }.joined()
        #expect(answers.count == 1000)
        var seen: [String: Set<String>] = [:]
        var fixed: Set<String> = []
        for answer in answers {
            guard let parts = try JSONSerialization.jsonObject(with: Data(answer.utf8)) as? [Any], parts.count == 2,
                let numbers = parts[0] as? [String: Any]
            else { throw TestFailure(answer) }
            for (kind, number) in numbers { seen[kind, default: []].insert("\(number)") }
            fixed.insert("\(parts[1])")
        }
        #expect(seen.count >= 8)
        for (kind, numbers) in seen { #expect(numbers.count == 1000, "\(kind): \(1000 - numbers.count) repeated") }
        #expect(fixed.count == 1, "a seed that was chosen is kept")
        #expect(try server.metric("hearth_crashes_total", ["function": "f"]) == 0)
        #expect(try server.metric("hearth_cold_starts_total", ["function": "f", "init_type": "exec"]) == 0)
    }
}
