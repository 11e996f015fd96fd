package lint

import (
	"testing"
)

func TestImportsPointDown(t *testing.T) {
	goFile := func(pkg, imports string) string { return "package " + pkg + "\nimport \"" + imports + "\"\n" }
	ours := func(dir string) string { return module + "/" + dir }
	for name, c := range map[string]struct {
		file, pkg, imports string
		want               string // part of the finding; nothing if it is allowed
	}{
		"standard library":                  {"stream/a.go", "stream", "net/http", ""},
		"stream on nats.go":                 {"stream/a.go", "stream", natsGo + "/jetstream", ""},
		"stream on batches":                 {"stream/a.go", "stream", orbit + "/jetstreamext", ""},
		"stream up":                         {"stream/a.go", "stream", ours("processor"), "imports point down"},
		"stream's tests up":                 {"stream/a_test.go", "stream_test", ours("processor"), "imports point down"},
		"stream's tests, the server":        {"stream/a_test.go", "stream_test", ours("embedded/embeddedtest"), ""},
		"processor on stream":               {"processor/a.go", "processor", ours("stream"), ""},
		"processor on its own internals":    {"processor/a.go", "processor", ours("processor/internal/engine"), ""},
		"processortest on internals":        {"processor/processortest/a.go", "processortest", ours("processor/internal/engine"), ""},
		"processor on nats.go":              {"processor/a.go", "processor", natsGo, "must not name a NATS type"},
		"the engine on nats.go":             {"processor/internal/engine/a.go", "engine", natsGo, "must not name a NATS type"},
		"processor's tests on nats.go":      {"processor/a_test.go", "processor_test", natsGo, ""},
		"processor up":                      {"processor/a.go", "processor", ours("join"), "imports point down"},
		"processor on its own test package": {"processor/a.go", "processor", ours("processor/processortest"), "serves tests only"},
		"join on processor":                 {"join/a.go", "join", ours("processor"), ""},
		"join on its internals":             {"join/a.go", "join", ours("processor/internal/engine"), "internal to others"},
		"join on nats.go":                   {"join/a.go", "join", natsGo, "must not name a NATS type"},
		"join on its sibling":               {"join/a.go", "join", ours("alerting"), "imports point down"},
		"join's tests on the driver":        {"join/a_test.go", "join_test", ours("processor/processortest"), ""},
		"alerting on its sibling":           {"alerting/a.go", "alerting", ours("join"), "imports point down"},
		"alerting's tests on its sibling":   {"alerting/a_test.go", "alerting_test", ours("join"), ""},
		"alerting on anything else":         {"alerting/a.go", "alerting", zap, "docs/adr"},
		"a name that only begins alike":     {"stream/a.go", "stream", natsGo + "-fork/x", "docs/adr"},
		"schemas on stream":                 {"schemas/a.go", "schemas", ours("stream"), "imports point down"},
		"embedded on the server":            {"embedded/a.go", "embedded", natsServer + "/v2/server", ""},
		"stream on the server":              {"stream/a.go", "stream", natsServer + "/v2/server", "only embedded"},
		"stream's tests on the server":      {"stream/a_test.go", "stream_test", natsServer + "/v2/server", "only embedded"},
		"stream on embedded":                {"stream/a.go", "stream", ours("embedded"), "for tests, examples and cmd"},
		"examples on embedded":              {"examples/x/main.go", "main", ours("embedded"), ""},
		"examples on their parts":           {"examples/x/a/a.go", "a", ours("examples/x/b"), ""},
		"examples on other examples":        {"examples/x/main.go", "main", ours("examples/y/b"), "another program"},
		"examples on internals":             {"examples/x/main.go", "main", ours("internal/backoff"), "internal to others"},
		"examples on a test package":        {"examples/x/main.go", "main", ours("embedded/embeddedtest"), "serves tests only"},
		"examples' tests on a test package": {"examples/x/main_test.go", "main", ours("embedded/embeddedtest"), ""},
		"examples' tests on benchtable":     {"examples/x/main_test.go", "main", ours("internal/benchtable"), ""},
		"the library on examples":           {"stream/a.go", "stream", ours("examples/x/b"), "another program"},
		"internal on the library":           {"internal/a/a.go", "a", ours("stream"), "imports point down"},
		"internal on others":                {"internal/a/a.go", "a", sys + "/unix", "standard library only"},
		"testify in the product":            {"stream/a.go", "stream", "github.com/stretchr/testify/require", "for tests only"},
		"testify in a test":                 {"stream/a_test.go", "stream", "github.com/stretchr/testify/require", ""},
		"testify in a test package":         {"embedded/embeddedtest/a.go", "embeddedtest", "github.com/stretchr/testify/require", ""},
		"testify in a folder like latest":   {"stream/latest/a.go", "latest", "github.com/stretchr/testify/require", "for tests only"},
		"cgo":                               {"stream/a.go", "stream", "C", "cgo"},
		"the root":                          {"stream/a.go", "stream", module, "no package in the root"},
	} {
		t.Run(name, func(t *testing.T) {
			in := files{c.file: goFile(c.pkg, c.imports)}
			if c.want == "" {
				one(t, checkImports, in)
				return
			}
			one(t, checkImports, in, c.file+":2: imports "+c.imports, c.want)
		})
	}
	one(t, checkImports, files{"kafka/a.go": "package kafka\n"}, "kafka/a.go: no area")
}
