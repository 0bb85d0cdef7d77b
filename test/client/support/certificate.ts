/**
 * A certificate for localhost that signs itself, and its key. They protect nothing: they
 * only let tests speak TLS. Made by
 * `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500
 * -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1`.
 */
export const TEST_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUT8k2ii0RUbm90R13bBl5o9gvtbYwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjE0NDgxNFoYDzIxMjYxMDI5
MTQ0ODE0WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAT20NPdwWVeULP7wXBKjGM7b47Ix4ubiE+A4zExYapkrtRiJD695Bfk
JO10/W32IvHpYSAKE5Gjfa1HQsO2SLEqo28wbTAdBgNVHQ4EFgQUzQRMHfPjiVIl
eZ3by5Hr+eaKWx8wHwYDVR0jBBgwFoAUzQRMHfPjiVIleZ3by5Hr+eaKWx8wDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIgUBR0RmxHxwXimk3bBjxYi+SpvhXxE/noEYI5zLCjqUICIQCK
wEg43+UlixkkSepTBFZR+AiUJr79KhvGM/DNUCzTjw==
-----END CERTIFICATE-----
`;

export const TEST_CERTIFICATE_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1hchlitq4Izeo0rA
Li52Nbze2n1EZ9o3OFRF0bIk68qhRANCAAT20NPdwWVeULP7wXBKjGM7b47Ix4ub
iE+A4zExYapkrtRiJD695BfkJO10/W32IvHpYSAKE5Gjfa1HQsO2SLEq
-----END PRIVATE KEY-----
`;
