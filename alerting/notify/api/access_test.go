package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting/notify/api"
)

func write(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// certificate makes one of 127.0.0.1, and what trusts it.
func certificate(t *testing.T) (api.TLSFiles, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	data, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	trusted := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(data)
	require.NoError(t, err)
	trusted.AddCert(parsed)
	return api.TLSFiles{
		Cert: write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: data}))),
		Key:  write(t, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}))),
	}, trusted
}

// TestAccess lets in who knows a token or a password, over TLS, until it ends.
func TestAccess(t *testing.T) {
	w := newWorld(t)
	files, trusted := certificate(t)
	cfg := api.Config{
		Client: w.client, Conn: w.nc, Topology: w.topology(), Notify: w.cfg, TLS: files,
		Access: api.Access{TokenFile: write(t, "s3cret\n"), UserFile: write(t, "ann:pass:word\nbob:other\n")},
	}
	server, err := api.New(t.Context(), cfg)
	require.NoError(t, err)
	listener, err := api.Listen(t.Context(), ":0")
	require.NoError(t, err)
	require.True(t, listener.Addr().(*net.TCPAddr).IP.IsLoopback())
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}}
	ask := func(path string, prepare func(*http.Request)) (int, http.Header) {
		request, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+listener.Addr().String()+path, nil)
		require.NoError(t, err)
		prepare(request)
		response, err := client.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode, response.Header
	}
	nobody := func(*http.Request) {}
	bearer := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	for name, c := range map[string]struct {
		who  func(*http.Request)
		code int
	}{
		"nobody": {nobody, 401}, "token": {bearer("s3cret"), 200}, "wrong token": {bearer("s3cre"), 401}, "empty token": {bearer(""), 401},
		"ann": {basic("ann", "pass:word"), 200}, "bob": {basic("bob", "other"), 200}, "mixed": {basic("ann", "other"), 401}, "empty": {basic("", ""), 401},
	} {
		code, header := ask("/api/v2/status", c.who)
		require.Equal(t, c.code, code, name)
		if code == 401 {
			require.Equal(t, []string{`Basic realm="rossby", charset="UTF-8"`, "Bearer"}, header.Values("WWW-Authenticate"))
		}
	}
	code, _ := ask("/-/healthy", nobody)
	require.Equal(t, 200, code)
	require.NoError(t, os.WriteFile(cfg.Access.TokenFile, []byte("new"), 0o600))
	code, _ = ask("/api/v2/status", bearer("new"))
	require.Equal(t, 200, code)
	require.NoError(t, os.Remove(cfg.Access.TokenFile))
	code, _ = ask("/api/v2/status", bearer("new"))
	require.Equal(t, 401, code)
	client.CloseIdleConnections()
	stop()
	require.NoError(t, <-served)
	require.NoError(t, server.Close(t.Context()))
}

// TestMistakesOfAccess are found at once, and tell no secret.
func TestMistakesOfAccess(t *testing.T) {
	w := newWorld(t)
	for want, change := range map[string]func(*api.Config){
		"has no token":         func(c *api.Config) { c.Access.TokenFile = write(t, " \n") },
		"read the token":       func(c *api.Config) { c.Access.TokenFile = "/nowhere" },
		"not user:password":    func(c *api.Config) { c.Access.UserFile = write(t, "hunter2") },
		"has no users":         func(c *api.Config) { c.Access.UserFile = write(t, "\n") },
		"read the certificate": func(c *api.Config) { c.TLS = api.TLSFiles{Cert: write(t, "x"), Key: write(t, "y")} },
		"required":             func(c *api.Config) { c.Topology = nil },
		"there is no receiver": func(c *api.Config) { c.Notify.Receivers = nil },
	} {
		cfg := api.Config{Client: w.client, Conn: w.nc, Topology: w.topology(), Notify: w.cfg}
		change(&cfg)
		_, err := api.New(t.Context(), cfg)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "hunter2")
		require.NotContains(t, err.Error(), "\n")
	}
}

// TestPagesElsewhereCannotWrite: what a browser sends to another site without asking is refused.
func TestPagesElsewhereCannotWrite(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/api/v2/alerts", "/api/v2/silences", "/api/rossby/v1/acknowledgements"} {
		for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data; boundary=x"} {
			request, err := http.NewRequestWithContext(t.Context(), "POST", w.url+path, http.NoBody)
			require.NoError(t, err)
			request.Header.Set("Content-Type", kind)
			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, 415, response.StatusCode)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
