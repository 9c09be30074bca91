// go-spiffe-peer is a peer of the interop suite: a server or a client over spiffe/go-spiffe that holds an X.509-SVID and bundles in files.
//
//	go-spiffe-peer server -cert F -key F -bundle TD=F... (-id ID | -member TD)
//	go-spiffe-peer client -cert F -key F -bundle TD=F... (-id ID | -member TD) URL...
//	go-spiffe-peer version
//
// The server prints {"port": N} and answers every request with the SPIFFE ID of its peer; it ends when standard input does. The client calls each
// URL once, each over a connection of its own, and prints one JSON line for it.
package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

type peer struct {
	svid       *x509svid.SVID
	bundles    *x509bundle.Set
	authorizer tlsconfig.Authorizer
	minVersion uint16
	maxVersion uint16
}

type outcome struct {
	URL     string `json:"url"`
	Status  int    `json:"status,omitempty"`
	Body    string `json:"body,omitempty"`
	Peer    string `json:"peer,omitempty"`
	Version string `json:"version,omitempty"`
	Error   string `json:"error,omitempty"`
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("server or client?")
	}
	if os.Args[1] == "version" {
		fmt.Println(version())
		return
	}
	p, rest, err := parse(os.Args[2:])
	if err != nil {
		log.Fatal(err)
	}
	switch os.Args[1] {
	case "server":
		err = serve(p)
	case "client":
		err = call(p, rest)
	default:
		err = errors.New("server or client?")
	}
	if err != nil {
		log.Fatal(err)
	}
}

// version names the module that this peer is over.
func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/spiffe/go-spiffe/v2" {
			return "go-spiffe " + module.Version
		}
	}
	return "go-spiffe"
}

func parse(args []string) (*peer, []string, error) {
	flags := flag.NewFlagSet("go-spiffe-peer", flag.ContinueOnError)
	cert := flags.String("cert", "", "chain, leaf first")
	key := flags.String("key", "", "private key")
	id := flags.String("id", "", "the one ID that the peer must have")
	member := flags.String("member", "", "the trust domain that the peer must belong to")
	only := flags.String("tls", "", "1.2 or 1.3 only")
	bundles := x509bundle.NewSet()
	flags.Func("bundle", "TD=FILE", func(value string) error {
		name, file, _ := strings.Cut(value, "=")
		td, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return err
		}
		bundle, err := x509bundle.Load(td, file)
		if err == nil {
			bundles.Add(bundle)
		}
		return err
	})
	if err := flags.Parse(args); err != nil {
		return nil, nil, err
	}
	svid, err := x509svid.Load(*cert, *key)
	if err != nil {
		return nil, nil, err
	}
	authorizer, err := authorize(*id, *member)
	if err != nil {
		return nil, nil, err
	}
	p := &peer{svid: svid, bundles: bundles, authorizer: authorizer}
	switch *only {
	case "1.2":
		p.minVersion, p.maxVersion = tls.VersionTLS12, tls.VersionTLS12
	case "1.3":
		p.minVersion, p.maxVersion = tls.VersionTLS13, tls.VersionTLS13
	}
	return p, flags.Args(), nil
}

func authorize(id, member string) (tlsconfig.Authorizer, error) {
	if id != "" {
		parsed, err := spiffeid.FromString(id)
		return tlsconfig.AuthorizeID(parsed), err
	}
	td, err := spiffeid.TrustDomainFromString(member)
	return tlsconfig.AuthorizeMemberOf(td), err
}

func (p *peer) limit(config *tls.Config) *tls.Config {
	if p.minVersion != 0 {
		config.MinVersion, config.MaxVersion = p.minVersion, p.maxVersion
	}
	return config
}

func serve(p *peer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	config := p.limit(tlsconfig.MTLSServerConfig(p.svid, p.bundles, p.authorizer))
	server := &http.Server{
		TLSConfig:         config,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id, err := x509svid.IDFromCert(r.TLS.PeerCertificates[0])
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			_, _ = io.WriteString(w, id.String())
		}),
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	if err := json.NewEncoder(os.Stdout).Encode(map[string]int{"port": listener.Addr().(*net.TCPAddr).Port}); err != nil {
		return err
	}
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func call(p *peer, urls []string) error {
	out := json.NewEncoder(os.Stdout)
	for _, url := range urls {
		if err := out.Encode(get(p, url)); err != nil {
			return err
		}
	}
	return nil
}

func get(p *peer, url string) outcome {
	config := p.limit(tlsconfig.MTLSClientConfig(p.svid, p.bundles, p.authorizer))
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return outcome{URL: url, Error: err.Error()}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return outcome{URL: url, Error: err.Error()}
	}
	o := outcome{URL: url, Status: response.StatusCode, Body: string(body)}
	if response.TLS != nil {
		o.Version = tls.VersionName(response.TLS.Version)
		if id, err := x509svid.IDFromCert(response.TLS.PeerCertificates[0]); err == nil {
			o.Peer = id.String()
		}
	}
	return o
}
