import TestSupport

extension TestFunction {
    /// Writes each event that it is given as a line of the file with its name in `place`; fails if the event says so.
    static func recorder(_ name: String, _ place: TemporaryDirectory, manifest: String = "") -> TestFunction {
        .python(
            name,
            """
            import json
            def handler(event, context):
                with open("\(place.path)/" + context.function_name, "a") as file:
                    file.write(json.dumps(event) + "\\n")
                if "fail" in event: raise ValueError("on purpose")
                return {"seen": event}
            """, manifest: manifest)
    }
}
