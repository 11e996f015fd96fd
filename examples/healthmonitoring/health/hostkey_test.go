package health

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHostKey(t *testing.T) {
	for name, want := range map[string]string{
		"":                                  "",
		" . ":                               "",
		"web1":                              "web1",
		"WEB1.Example.COM":                  "web1",
		"web1.example.com.":                 "web1",
		"web1:9100":                         "web1",
		"web1.example.com.:9100":            "web1",
		"web1.example.com:":                 "web1",
		" web1\n":                           "web1",
		"ts-basic-service-5dc8d4f9fd-46997": "ts-basic-service-5dc8d4f9fd-46997",
		"10.1.2.3":                          "10.1.2.3",
		"10.1.2.3:514":                      "10.1.2.3",
		"10.1.2.3:99999":                    "10.1.2.3",
		"10.1.2.3.":                         "10.1.2.3",
		"::1":                               "::1",
		"[::1]":                             "::1",
		"[2001:DB8::1]:514":                 "2001:db8::1",
		"2001:0db8:0:0::1":                  "2001:db8::1",
		"::ffff:10.1.2.3":                   "10.1.2.3",
		"fe80::1%eth0":                      "fe80::1%eth0",
		"a:b:c":                             "a:b:c",
		"web1:http":                         "web1:http",
		"1.2.3":                             "1",
		"M\u00dcNCHEN.example":              "m\u00fcnchen",
	} {
		require.Equal(t, want, HostKey(name), "%q", name)
	}
}

func FuzzHostKey(f *testing.F) {
	for _, seed := range []string{"Web1.example.com:1", "[::1]:5", "0::1.foo", "[[::1]]", "1.2.3.4.:80.", "\u0130.x", "\xff", "[a]", "a .b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		key := HostKey(name)
		require.Equal(t, key, HostKey(key))
		require.Equal(t, key, HostKey(name+"."), "a trailing dot makes another key")
	})
}
