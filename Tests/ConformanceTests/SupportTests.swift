import TestSupport
import Testing

@Suite struct SupportTests {
    @Test func aServerOfTheTestsStartsServesAndStops() throws {
        let server = try HearthProcess(functions: [.python("echo", "def handler(event, context):\n    return {'got': event}\n")])
        let answer = try server.invoke("echo", #"{"a":1}"#)
        #expect(answer.status == 200 && answer.object["got"] as? [String: Int] == ["a": 1], "\(answer)")
        #expect(try server.get("/echo/").status == 200)
        #expect(try server.command(["list"]).out.contains("echo"))
        server.child.signal(15)
        #expect(try server.child.waitForExit() == .exited(0))
    }
}
