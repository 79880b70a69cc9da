//! Enrols the device that a caller's user makes MFA codes with: an app on a phone. Its secret is shown once, and nobody keeps it.

use jiff::Timestamp;
use qrcode::{QrCode, render::unicode::Dense1x2};
use secrecy::{ExposeSecret, SecretString};
use totp_rs::{Builder, Secret, Totp};

use super::principal::Iam;
use crate::{
    error::{CliError, Exit, Result},
    settings::sent_once,
};

/// What the app calls the account.
const ISSUER: &str = "sorry";

/// A device that is in force.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) serial: String,
    /// For typing into an app, in base 32.
    pub(super) secret: SecretString,
    /// For apps that take a link; also what the QR code holds.
    pub(super) link: SecretString,
}

impl Device {
    /// The link as a picture of characters, for a camera.
    pub(super) fn picture(&self) -> Result<SecretString> {
        let code = QrCode::new(self.link.expose_secret())
            .map_err(|error| CliError::new(Exit::Bug, format!("cannot draw the QR code: {error}")))?;
        // Dark on light whatever the terminal's colours are: cameras do not read it the other way round.
        let drawn = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
        Ok(SecretString::from(drawn))
    }

    /// What to do about one that could not be taken away.
    pub(super) fn left_behind(&self, user: &str) -> String {
        let serial = &self.serial;
        format!(
            "nobody has seen the secret of the MFA device: `aws iam deactivate-mfa-device --user-name {user} --serial-number {serial}`"
        )
    }
}

impl Iam {
    /// Gives the user a device, unless it has one. What an interrupted run left is made anew: nobody knows its secret.
    pub(super) async fn enrol(&self, user: &str, now: Timestamp) -> Result<Option<Device>> {
        let devices = self.client.list_mfa_devices().user_name(user).send().await;
        let devices =
            devices.map_err(|error| CliError::from_sdk("look for the user's MFA devices", &error))?;
        if !devices.mfa_devices.is_empty() {
            return Ok(None);
        }
        let left = self.device_serial(user);
        // Refused if it belongs to somebody, and then making it is refused, too.
        let _ = self.client.delete_virtual_mfa_device().serial_number(left).send().await;
        let made = self
            .client
            .create_virtual_mfa_device()
            .path(super::principal::PATH)
            .virtual_mfa_device_name(user)
            .customize()
            .config_override(sent_once())
            .send()
            .await
            .map_err(|error| CliError::from_sdk("make an MFA device", &error))?;
        let odd = || CliError::failed("AWS did not show the secret of the MFA device that it made");
        let device = made.virtual_mfa_device.ok_or_else(odd)?;
        let seed = device.base32_string_seed.ok_or_else(odd)?;
        let secret = String::from_utf8(seed.into_inner()).map(SecretString::from).map_err(|_| odd())?;
        let totp = totp(user, &secret)?;
        // AWS asks for two codes in a row and allows for a clock that is one step off.
        let (before, current) = codes(&totp, now);
        let enabled = self
            .client
            .enable_mfa_device()
            .user_name(user)
            .serial_number(&device.serial_number)
            .authentication_code1(before)
            .authentication_code2(current)
            .send()
            .await;
        let link = totp.to_url().map(SecretString::from).map_err(|_| odd())?;
        let device = Device { serial: device.serial_number, secret, link };
        match enabled {
            Ok(_) => Ok(Some(device)),
            // What got lost was the answer.
            Err(_) if self.has_device(user, &device.serial).await => Ok(Some(device)),
            Err(error) => {
                let error = CliError::from_sdk("switch the MFA device on", &error)
                    .hint("is this machine's clock right? the codes are made from it");
                let gone = self.forget(user, &device).await;
                Err(if gone { error } else { error.also(device.left_behind(user)) })
            }
        }
    }

    async fn has_device(&self, user: &str, serial: &str) -> bool {
        let devices = self.client.list_mfa_devices().user_name(user).send().await;
        devices.is_ok_and(|devices| devices.mfa_devices.iter().any(|device| device.serial_number == serial))
    }

    /// Takes a device away again.
    pub(super) async fn forget(&self, user: &str, device: &Device) -> bool {
        // One that was not switched on need not be off; one that is on cannot be deleted.
        let _ =
            self.client.deactivate_mfa_device().user_name(user).serial_number(&device.serial).send().await;
        self.client.delete_virtual_mfa_device().serial_number(&device.serial).send().await.is_ok()
    }
}

/// The user's codes: six digits every 30 seconds, as AWS makes them.
fn totp(user: &str, secret: &SecretString) -> Result<Totp> {
    let odd = |_| CliError::failed("the secret of the MFA device is not in base 32");
    let secret = Secret::try_from_base32(secret.expose_secret()).map_err(odd)?;
    // A user's name can hold no colon, which is all that could be wrong with it.
    let built = Builder::new().with_secret(secret).with_account_name(user).with_issuer(Some(ISSUER)).build();
    built.map_err(|error| CliError::failed(format!("the secret of the MFA device cannot be used: {error}")))
}

/// The code before the present one, and that.
fn codes(totp: &Totp, now: Timestamp) -> (String, String) {
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let code = |seconds| totp.generate(seconds).to_string();
    (code(seconds.saturating_sub(30)), code(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, for SHA-1: the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let secret = SecretString::from("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let totp = totp("sue-mgr", &secret).unwrap();
        for (at, code) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
            let (_, current) = codes(&totp, Timestamp::from_second(at).unwrap());
            assert_eq!(current, code);
            let (before, _) = codes(&totp, Timestamp::from_second(at + 30).unwrap());
            assert_eq!(before, code);
        }
    }

    #[test]
    fn a_device_can_be_typed_linked_and_photographed() {
        let secret = SecretString::from("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let link = totp("sue-mgr", &secret).unwrap().to_url().unwrap();
        assert!(link.starts_with("otpauth://totp/sorry:sue-mgr?"), "{link}");
        assert!(link.contains("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"), "{link}");
        let device = Device { serial: String::new(), secret, link: SecretString::from(link) };
        assert!(device.picture().unwrap().expose_secret().lines().count() > 15);
        assert!(!format!("{device:?}").contains("GEZDGNBVGY3TQOJQ"));
    }
}
