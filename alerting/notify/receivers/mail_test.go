package receivers_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/textproto"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/receivers"
)

// postOffice is an SMTP server with STARTTLS.
type postOffice struct {
	net.Listener
	cert  tls.Certificate
	roots *x509.CertPool
	plain bool   // it has no STARTTLS
	says  string // its answer to a recipient

	wg    sync.WaitGroup
	mu    sync.Mutex
	mails []string
}

func openPostOffice(t *testing.T) *postOffice {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	o := &postOffice{Listener: l, cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots: x509.NewCertPool(), says: "250 ok"}
	o.roots.AddCert(cert)
	o.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			o.wg.Go(func() { o.serve(conn) })
		}
	})
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		o.wg.Wait()
	})
	return o
}

// serve talks to one client until it leaves.
func (o *postOffice) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }() // it may be gone
	c := textproto.NewConn(conn)
	say := func(text string) bool { return c.PrintfLine("%s", text) == nil }
	say("220 localhost ready")
	secure := false
	for {
		text, err := c.ReadLine()
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(text, " "); strings.ToUpper(verb) {
		case "EHLO":
			switch {
			case secure:
				say("250-localhost\r\n250 AUTH PLAIN")
			case o.plain:
				say("250 localhost")
			default:
				say("250-localhost\r\n250 STARTTLS")
			}
		case "STARTTLS":
			say("220 go")
			conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{o.cert}})
			c, secure = textproto.NewConn(conn), true
		case "AUTH":
			if text != "AUTH PLAIN AG1lAGh1c2g=" { // me, hush
				say("535 no")
				continue
			}
			say("235 ok")
		case "RCPT":
			say(o.says)
		case "DATA":
			say("354 go on")
			lines, err := c.ReadDotLines()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.mails = append(o.mails, strings.Join(lines, "\n"))
			o.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (o *postOffice) taken() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.mails...)
}

func TestMail(t *testing.T) {
	o := openPostOffice(t)
	m := &receivers.Mail{
		Host: "localhost", Port: o.Addr().(*net.TCPAddr).Port, From: "rossby@example.org", To: []string{"ann@example.org", "bob@example.org"},
		Username: "me", Password: receivers.Text("hush"), TLS: &tls.Config{RootCAs: o.roots, ServerName: "localhost", MinVersion: tls.VersionTLS12}, Timeout: time.Second,
	}
	n := notification()
	n.GroupLabels["team"] = "web\r\nBcc: all@example.org"
	require.NoError(t, m.Send(t.Context(), delivery(n)))
	require.NoError(t, m.Send(t.Context(), delivery(n)))
	mails := o.taken()
	require.Len(t, mails, 2)
	ids := regexp.MustCompile(`Message-ID: <[0-9a-f]{32}@example\.org>`)
	require.Equal(t, ids.FindString(mails[0]), ids.FindString(mails[1]))
	require.NotEmpty(t, ids.FindString(mails[0]))
	for _, want := range []string{"Subject: [FIRING:1] HighCPU", "firing HighCPU a critical: hot", "resolved HighCPU b critical: hot", "first notification"} {
		require.Contains(t, mails[0], want)
	}
	require.NotContains(t, mails[0], "\nBcc:")

	o.says = "550 nobody here"
	require.ErrorIs(t, m.Send(t.Context(), delivery(n)), notify.ErrRefused)
	o.says = "451 later"
	err := m.Send(t.Context(), delivery(n))
	require.Error(t, err)
	require.NotErrorIs(t, err, notify.ErrRefused)
	o.says = "250 ok"
	m.Password = receivers.Text("wrong")
	err = m.Send(t.Context(), delivery(n))
	require.Error(t, err)
	require.NotContains(t, err.Error(), "wrong")
	m.Password = receivers.Text("hush")
	m.TLS = nil // whose certificate is that
	require.ErrorContains(t, m.Send(t.Context(), delivery(n)), "certificate")
	o.plain = true
	require.ErrorContains(t, m.Send(t.Context(), delivery(n)), "STARTTLS")
	require.Len(t, o.taken(), 2)
}
